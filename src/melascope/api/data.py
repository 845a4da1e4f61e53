"""Images and data sets, from Python."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melascope.api.paths import StrPath, paths
from melascope.errors import DataError
from melascope.progress import Notify, Progress, quiet, silent

if TYPE_CHECKING:
    import pandas as pd

    from melascope.fetch.ledger import Row


class Dataset:
    """A data set folder, made by `prepare`: images with labels and groups, dealt out to three splits."""

    unchanged = False
    """Whether `prepare` had nothing to do, since sources and options are those of the last run."""

    def __init__(self, folder: StrPath) -> None:
        self.folder = Path(folder)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r})"

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row for each image; see `melascope.manifest`."""
        from melascope import manifest

        return manifest.read(self.folder)

    @cached_property
    def audit(self) -> dict[str, Any]:
        """What was checked, and what it says about the data: `audit["verdicts"]` first."""
        from melascope.prepare.pipeline import AUDIT

        try:
            audit: dict[str, Any] = json.loads((self.folder / AUDIT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder}: has no whole audit; prepare the data set again") from error
        return audit

    @property
    def page(self) -> Path:
        """The audit as a page."""
        from melascope.report import audit

        return self.folder / audit.PAGE


def prepare(
    sources: StrPath | Iterable[StrPath],
    out: StrPath,
    *,
    keep_splits: bool = False,
    allow_leaks: bool = False,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Make a data set: check, label and group every image, deal out the groups to splits, and audit the result.

    Args:
        sources: folders and ZIPs of images, and CSVs: class folders, exports of the ISIC Archive, challenge files.
        out: the data set folder. The same call resumes one that was interrupted.
        keep_splits: take the splits that the data came with.
        allow_leaks: accept kept splits that share groups; figures from them mean nothing.
        fractions: of the images, for train, validation and test.
        seed: decides which group goes where.
        jobs: processes that read images; None for one a core.
        progress: called with (what, done, total).

    Raises:
        DataError: if the sources cannot be used, or make no data set that a model could learn from.
    """
    from melascope.prepare import pipeline
    from melascope.prepare.splits import Options
    from melascope.report import audit

    made = Dataset(out)
    summary = pipeline.prepare(
        paths(sources),
        made.folder,
        Options(keep_splits, allow_leaks, tuple(fractions), seed),
        jobs=jobs,
        publish=audit.write,
        progress=progress,
    )
    made.table, made.audit, made.unchanged = summary.table, summary.audit, summary.unchanged
    return made


@dataclass(frozen=True)
class Collection:
    """A raw folder, made by a function that fetches: images with their licences and tables, for `prepare`."""

    folder: Path
    failed: "list[Row]"
    """Files that could not be downloaded, each with its reason; the same call tries them again."""

    def __fspath__(self) -> str:
        return str(self.folder)

    @cached_property
    def counts(self) -> "pd.DataFrame":
        """How many images there are, by class, year, source and licence; also writes `page`.

        Raises:
            DataError: if the folder holds no table to count.
        """
        from melascope.report import collection

        return collection.write(self.folder)

    @property
    def page(self) -> Path:
        """The summary as a page."""
        from melascope.report import collection

        return self.folder / collection.PAGE


def fetch_isic(
    query: str,
    out: StrPath,
    *,
    collections: Sequence[int] = (),
    licenses: Sequence[str] = (),
    limit: int | None = None,
    images: bool = True,
    jobs: int = 32,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> Collection:
    """Download images of the ISIC Archive, with their tables, credits and licences.

    Args:
        query: in the archive's query language, such as `diagnosis_1:Malignant`. Unless it names an `image_type`, only
            dermoscopic images are meant.
        out: the raw folder. The same call resumes a download, and checks and completes what is there.
        collections: only images of these, by number.
        licenses: only images under these: `CC-0`, `CC-BY`, `CC-BY-NC`.
        limit: at most this many images.
        images: False leaves them out: only tables, credits and licences.
        jobs: downloads at once, 1 to 128.
        progress: called with (what, done, total).
        notify: called with sentences for the user.

    Raises:
        DataError: if nothing can be downloaded; see `Collection.failed` for single files.
    """
    from melascope.fetch import isic
    from melascope.fetch.isic_api import Archive

    selection = isic.select(query, collections, limit, licenses, notify)
    archive = Archive.open(jobs, notify)
    failed = isic.fetch(
        archive, selection, Path(out), with_images=images, jobs=jobs, progress=progress, notify=notify
    )
    return Collection(Path(out), failed)


def fetch_challenge(
    year: str,
    out: StrPath,
    *,
    licenses: Sequence[str] = (),
    progress: Progress = silent,
    notify: Notify = quiet,
) -> Collection:
    """Download the images and tables of an ISIC challenge; `prepare` reads its ZIPs as they are.

    Args:
        year: `2016` to `2020`, `2024` or `milk10k`.
        out: the raw folder. The same call resumes a download.
        licenses: only the part under one of these.
        progress: called with (what, done, total).
        notify: called with sentences for the user.

    Raises:
        DataError: if nothing can be downloaded; see `Collection.failed` for single files.
    """
    from melascope.fetch import challenge
    from melascope.fetch.isic_api import Archive

    chosen = challenge.chosen(year, licenses, notify)
    failed = challenge.fetch(Archive.open(1, notify), chosen, Path(out), progress, notify)
    return Collection(Path(out), failed)


def fetch_zips(
    sources: StrPath | Iterable[StrPath],
    out: StrPath,
    *,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> Collection:
    """Download ZIPs, and unpack each into a folder of its name.

    Args:
        sources: addresses, and files of this machine.
        out: the raw folder. The same call resumes a download.
        progress: called with (what, done, total).
        notify: called with sentences for the user.

    Raises:
        DataError: if a ZIP is unsafe, damaged, or cannot be written; see `Collection.failed` for single files.
    """
    from melascope.fetch import zips
    from melascope.fetch.isic_api import Archive

    failed = zips.fetch(Archive.open(1, notify), paths(sources), Path(out), progress, notify)
    return Collection(Path(out), failed)

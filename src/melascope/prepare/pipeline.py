"""`prepare` from end to end: records, scan, duplicates, groups, splits, audit, manifest."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import __version__, files, manifest
from melascope.errors import DataError
from melascope.prepare import audit, duplicates, groups, splits
from melascope.prepare.records import read_records
from melascope.prepare.scan import FOLDER, Scan, scan_images
from melascope.prepare.splits import Options
from melascope.prepare.tree import open_trees
from melascope.progress import Progress, silent

AUDIT = "audit.json"
LEAKS = "leaks.csv"
_DONE = f"{FOLDER}/done.json"

Publish = Callable[[dict[str, Any], pd.DataFrame, Path], Path]


@dataclass(frozen=True)
class Summary:
    """What `prepare` made, now or in its last run."""

    table: pd.DataFrame
    """The manifest."""
    audit: dict[str, Any]
    unchanged: bool
    """Whether the sources and options are those of the last run, so that nothing was done."""


def prepare(
    sources: Sequence[str | Path],
    out: str | Path,
    options: Options | None = None,
    *,
    jobs: int | None = None,
    publish: Publish | None = None,
    progress: Progress = silent,
) -> Summary:
    """Make a data set folder: `audit.json` and, last, `manifest.parquet`.

    Args:
        sources: folders, ZIPs and CSVs, see `records.read_records`.
        out: the data set folder.
        options: how the images are split; see the defaults of `Options`.
        jobs: processes that read images; by default one a core.
        publish: writes the audit as a page and gives its path; called with audit, manifest and folder.
        progress: called with (what, done, total).

    Raises:
        DataError: if the sources cannot be used, or make no data set that a model could learn from.
    """
    out = Path(out)
    options = options or Options()
    stated = {
        "keep": options.keep_splits,
        "leaks": options.allow_leaks,
        "fractions": list(options.fractions),
        "seed": options.seed,
    }
    fingerprint = _fingerprint(sources, stated | {"page": publish is not None})
    if (earlier := _already(out, fingerprint)) is not None:
        return earlier
    records = read_records(sources)
    _make_folder(out)
    scan = scan_images(records.table, out, jobs, progress)
    rows = _with_pixels(records.table, scan)
    _check_classes(rows)  # before the long search, and once more after it
    pairs = duplicates.find(scan, np.flatnonzero(scan.table["error"] == ""), progress)
    _group(rows, scan, pairs, records.official)
    rows["split"] = splits.make(_check_classes(rows), options, out / LEAKS).reindex(rows.index)
    table = rows[list(manifest.COLUMNS)]
    measured = audit.measure(rows, scan, pairs, table, seed=options.seed, progress=progress)
    first, second = (pairs[column].to_numpy(dtype=np.intp) for column in ("i", "j"))
    chains = groups.chains(rows["image_id"], first, second)
    measured |= {"inputs": records.inputs, "chains": chains, "options": stated, "version": __version__}
    # The manifest is what makes the folder a data set: it goes first and comes last.
    (out / manifest.NAME).unlink(missing_ok=True)
    made = [out / AUDIT]
    files.write_json(made[0], measured)
    if publish is not None:
        made.append(publish(measured, table, out))
    made.append(manifest.write(table, out, allow_leaks=options.allow_leaks))
    hashes = {path.name: files.sha256(path) for path in made}
    files.write_json(out / _DONE, {"fingerprint": fingerprint, "made": hashes})
    return Summary(table, measured, unchanged=False)


def _fingerprint(sources: Sequence[str | Path], options: dict[str, object]) -> str:
    """Hash of everything that the result depends on; the code enters by its version."""
    digest = hashlib.sha256(json.dumps([__version__, options]).encode())
    trees = {tree.path: tree for source in sources for tree in open_trees(source)}
    for path, tree in sorted(trees.items()):
        digest.update(f"\n{path}".encode("utf-8", "surrogateescape"))
        for member in (*tree.images, *tree.tables):
            line = f"\n{member.name}\t{member.size}\t{member.mark}"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _already(out: Path, fingerprint: str) -> Summary | None:
    """The last run's result, if its input was the same and its files are unchanged."""
    try:
        done = json.loads((out / _DONE).read_text(encoding="utf-8"))
        if done["fingerprint"] != fingerprint:
            return None
        if any(files.sha256(out / name) != digest for name, digest in done["made"].items()):
            return None
        stored = json.loads((out / AUDIT).read_text(encoding="utf-8"))
        return Summary(manifest.read(out), stored, unchanged=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
        return None


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be a folder for the data set ({error.strerror})") from error


def _with_pixels(records: pd.DataFrame, scan: Scan) -> pd.DataFrame:
    error = scan.table["error"]
    excluded = ("unreadable: " + error).where(error != "", records["excluded"])
    pixel_hash = scan.table["pixel_hash"].replace("", None)
    return records.assign(pixel_hash=pixel_hash, excluded=excluded)


def _group(rows: pd.DataFrame, scan: Scan, pairs: pd.DataFrame, listed: list[tuple[str, str]]) -> None:
    """Add the column `group`, and exclude different images with one id."""
    first, second = (pairs[column].to_numpy(dtype=np.intp) for column in ("i", "j"))
    clash = groups.clashes(rows, scan.table["pixel_hash"], scan.features["grey"], first, second)
    rows.loc[clash & (rows["excluded"] == ""), "excluded"] = groups.CLASH
    official = groups.official_pairs(rows["image_id"], listed)
    first, second = np.concatenate([[first, second], official], axis=1)
    component = groups.components(groups.keys(rows), first, second)
    rows["group"] = groups.name_groups(component, rows["image_id"])


def _check_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """The usable rows, if a model could learn from them.

    Raises:
        DataError: if no image is usable, or all are of one class.
    """
    kept = rows[rows["excluded"] == ""]
    where = files.split_locator(str(rows["path"].iloc[0]))[0]
    if kept.empty:
        reasons = rows["excluded"].str.partition(":")[0].value_counts()
        counted = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
        raise DataError(f"{where}: no usable image among {len(rows)} ({counted})")
    if not kept["malignant"].fillna(False).any():
        raise DataError(
            f"{where}: no positive image: none of {len(kept)} usable ones is known to be malignant"
        )
    if kept["malignant"].fillna(True).all():
        raise DataError(f"{where}: one class only: none of {len(kept)} usable ones is known to be benign")
    return kept

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
from melascope.prepare.scan import FOLDER, Scan, scan
from melascope.prepare.tree import open_trees
from melascope.progress import Progress, silent

AUDIT = "audit.json"
LEAKS = "leaks.csv"
FRACTIONS = (0.7, 0.15, 0.15)
_DONE = f"{FOLDER}/done.json"

Publish = Callable[[dict[str, Any], pd.DataFrame, Path], Path]


@dataclass(frozen=True)
class Summary:
    """What `prepare` made, or found made."""

    table: pd.DataFrame
    """The manifest."""
    audit: dict[str, Any]
    unchanged: bool
    """Whether the sources and options are those of the last run, so that nothing was done."""


def prepare(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    keep_splits: bool = False,
    allow_leaks: bool = False,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    jobs: int | None = None,
    publish: Publish | None = None,
    progress: Progress = silent,
) -> Summary:
    """Make a data set folder: `audit.json` and, last, `manifest.parquet`.

    Args:
        sources: folders, ZIPs and CSVs, see `records.read_records`.
        out: the data set folder.
        keep_splits: take the splits that the data came with.
        allow_leaks: accept kept splits that share groups.
        fractions: of the images, for train, validation and test.
        seed: decides which group goes where.
        jobs: processes that read images; by default one a core.
        publish: writes the audit as a page and gives its path; called with audit, manifest and folder.
        progress: called with (what, done, total).

    Raises:
        DataError: if the sources cannot be used, or make no data set that a model could learn from.
    """
    out = Path(out)
    _check_fractions(fractions)
    options = {"keep": keep_splits, "leaks": allow_leaks, "fractions": list(fractions), "seed": seed}
    fingerprint = _fingerprint(sources, options | {"page": publish is not None})
    if (found := _already(out, fingerprint)) is not None:
        return found
    records = read_records(sources)
    _make_folder(out)
    seen = scan(records.table, out, jobs, progress)
    rows = _with_pixels(records.table, seen)
    _insist_on_classes(rows)  # before the long search, and once more after it
    pairs = duplicates.find(seen, np.flatnonzero(seen.table["error"] == ""), progress)
    _group(rows, seen, pairs, records.official)
    kept = _insist_on_classes(rows)
    split = splits.keep(kept, allow_leaks, out / LEAKS) if keep_splits else splits.deal(kept, fractions, seed)
    rows["split"] = split.reindex(rows.index)
    table = rows[list(manifest.COLUMNS)]
    found_out = audit.audit(rows, seen, pairs, table, seed=seed, progress=progress)
    first, second = (pairs[column].to_numpy(dtype=np.intp) for column in ("i", "j"))
    chains = groups.chains(rows["image_id"], first, second)
    found_out |= {"inputs": records.inputs, "chains": chains, "options": options, "version": __version__}
    if not keep_splits:
        (out / LEAKS).unlink(missing_ok=True)
    # The manifest is what makes the folder a data set: it goes first and comes last.
    (out / manifest.NAME).unlink(missing_ok=True)
    made = [out / AUDIT]
    files.write_text(made[0], json.dumps(found_out, indent=1, ensure_ascii=False) + "\n")
    if publish is not None:
        made.append(publish(found_out, table, out))
    made.append(manifest.write(table, out, allow_leaks=allow_leaks))
    hashes = {path.name: files.sha256(path) for path in made}
    files.write_text(out / _DONE, json.dumps({"fingerprint": fingerprint, "made": hashes}) + "\n")
    return Summary(table, found_out, unchanged=False)


def _check_fractions(fractions: Sequence[float]) -> None:
    good = len(fractions) == len(manifest.SPLITS) and all(0 <= share <= 1 for share in fractions)
    if not good or abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0:
        given = ",".join(f"{share:g}" for share in fractions)
        raise DataError(f"fractions {given}: give three that sum to 1, such as 0.7,0.15,0.15")


def _fingerprint(sources: Sequence[str | Path], options: dict[str, object]) -> str:
    """Hash of everything that the result depends on but the code, of which it takes the version."""
    digest = hashlib.sha256(json.dumps([__version__, options]).encode())
    for tree in sorted({tree.path: tree for source in sources for tree in open_trees(source)}.items()):
        digest.update(f"\n{tree[0]}".encode("utf-8", "surrogateescape"))
        for member in (*tree[1].images, *tree[1].tables):
            line = f"\n{member.name}\t{member.size}\t{member.mark}"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _already(out: Path, fingerprint: str) -> Summary | None:
    """The last run's result, if it was of the same input and all it made is still whole."""
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


def _with_pixels(records: pd.DataFrame, seen: Scan) -> pd.DataFrame:
    error = seen.table["error"]
    excluded = ("unreadable: " + error).where(error != "", records["excluded"])
    pixel_hash = seen.table["pixel_hash"].replace("", None)
    return records.assign(pixel_hash=pixel_hash, excluded=excluded)


def _group(rows: pd.DataFrame, seen: Scan, pairs: pd.DataFrame, listed: list[tuple[str, str]]) -> None:
    """Add the column `group`, and exclude different images with one id."""
    first, second = (pairs[column].to_numpy(dtype=np.intp) for column in ("i", "j"))
    clash = groups.clashes(rows, seen.table["pixel_hash"], seen.features["grey"], first, second)
    rows.loc[clash & (rows["excluded"] == ""), "excluded"] = groups.CLASH
    official = groups.official_pairs(rows["image_id"], listed)
    first, second = np.concatenate([[first, second], official], axis=1)
    component = groups.components(groups.keys(rows), first, second)
    rows["group"] = groups.name_groups(component, rows["image_id"])


def _insist_on_classes(rows: pd.DataFrame) -> pd.DataFrame:
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

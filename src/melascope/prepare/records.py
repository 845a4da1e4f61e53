"""From sources to records: every image joined with what tables and folders say about it."""

import contextlib
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from melascope import files
from melascope.errors import DataError
from melascope.prepare.layouts import DUPLICATES, LAYOUTS, folders, lists_duplicates, recognise
from melascope.prepare.layouts.facts import DERMOSCOPIC, FIELDS, Facts, clean_id, image_id
from melascope.prepare.layouts.table import Table, read_table
from melascope.prepare.tree import Tree, open_trees

_MAX_EXAMPLES = 5  # rows and images that are named for each table
_LABEL = ("diagnosis", "malignant", "melanoma")
_KEPT = tuple(name for name in FIELDS if name not in ("manipulation", "weightless"))


@dataclass(frozen=True)
class Records:
    """What the sources hold."""

    table: pd.DataFrame
    """One row an image, with RangeIndex: the manifest's columns but `pixel_hash`, `group` and `split`, and
    `year`, `given_split`, `n_bytes` (size of the file), `mark` (changes when the file does) and `tree` (path
    of the folder or ZIP)."""
    official: list[tuple[str, str]]
    """Pairs of image ids that an official list calls duplicates."""
    inputs: dict[str, object]
    """For the audit: which trees and tables were read, which were skipped, and which rows were of no use."""


@dataclass
class _Read:
    """A table and what its rows say."""

    locator: str
    tree: str
    rank: int
    rows: int
    by_image: dict[str, list[Facts]] = field(default_factory=lambda: defaultdict(list))
    by_lesion: dict[str, list[Facts]] = field(default_factory=lambda: defaultdict(list))
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    spoilt: dict[str, str] = field(default_factory=dict)
    """By image id, why its row cannot be used."""


def read_records(sources: Sequence[str | Path]) -> Records:
    """Read everything that the sources hold, but no pixels.

    Args:
        sources: folders, ZIPs and CSVs. A CSV that lies in one of the folders or ZIPs is read too.

    Raises:
        DataError: if a source is missing or empty, or a table given by itself has unknown columns.
    """
    trees = _trees(sources)
    tables, official, passed_over = _tables(trees)
    listed = frozenset(name for table in tables for name in table.by_image)
    seen: set[str] = set()
    rows: list[dict[str, object]] = []
    for tree, called in zip(trees, _names(trees), strict=True):
        images = [member for member in tree.images if member.locator not in seen]
        seen.update(member.locator for member in images)
        ids = [folders.id_of(member.name, called, listed) for member in images]
        classes = [folders.class_of(member.name) for member in images]
        relevant = _relevant(tables, tree, ids, sum(label.diagnosis is not None for label in classes))
        for member, name, label in zip(images, ids, classes, strict=True):
            row = _row(name, relevant)
            if all(row[key] is None for key in _LABEL):
                row.update(label._asdict())
            row["source"] = row["source"] or called.partition("/")[0]
            row["excluded"] = row["excluded"] or _unlabelled(row, relevant)
            row["path"], row["n_bytes"], row["mark"] = member.locator, member.size, member.mark
            row["given_split"] = folders.split_of(member.name, tree.name)
            row["tree"] = tree.path
            rows.append(row)
    if not rows:
        given = ", ".join(map(str, sources))
        raise DataError(f"{given}: no images here; give the folder or ZIP that holds them besides the tables")
    frame = _frame(rows)
    _check_labels(frame, passed_over)
    return Records(frame, official, _inputs(trees, tables, passed_over, set(frame["image_id"])))


def _trees(sources: Sequence[str | Path]) -> list[Tree]:
    if not sources:
        raise DataError("no source; give a folder, a ZIP or a CSV")
    by_path: dict[str, Tree] = {}
    for source in sources:
        trees = open_trees(source)
        if not any(tree.images or tree.tables for tree in trees):
            ignored = sum(len(tree.passed_over) for tree in trees)
            masks = f", only {ignored} masks or superpixels" if ignored else ""
            raise DataError(f"{source}: empty: no images and no tables in it{masks}")
        by_path.update({tree.path: tree for tree in trees})
    return sorted(by_path.values(), key=lambda tree: (tree.name, tree.path))


def _names(trees: list[Tree]) -> list[str]:
    """A name for each tree that no other has; up to the slash, it names the data set."""
    often = Counter(tree.name for tree in trees)
    names: list[str] = []
    for tree in trees:
        # data/train and data/test are one data set; a/images and b/images are two.
        vague = often[tree.name] > 1 or folders.is_split(tree.name)
        name = f"{Path(tree.path).parent.name}/{tree.name}" if vague else tree.name
        again = names.count(name)
        names.append(f"{name} {again + 1}" if again else name)
    return names


def _tables(trees: list[Tree]) -> tuple[list[_Read], list[tuple[str, str]], dict[str, str]]:
    tables: dict[str, _Read] = {}
    official: list[tuple[str, str]] = []
    passed_over: dict[str, str] = {}
    for tree in trees:
        for member in tree.tables:
            given = tree.path == member.locator
            try:
                table = read_table(member.locator)
                if lists_duplicates(table):
                    first, second = DUPLICATES
                    official += [(clean_id(row[first]), clean_id(row[second])) for _, row in table.rows]
                elif member.locator not in tables or given:
                    tables[member.locator] = _read(table, tree.path)
            except DataError as error:
                if given:
                    raise
                passed_over[member.locator] = str(error).removeprefix(f"{member.locator}: ")
    return list(tables.values()), sorted(set(official)), passed_over


def _read(table: Table, tree: str) -> _Read:
    rank = recognise(table)
    result = _Read(table.locator, tree, rank, len(table.rows), unreadable=list(table.broken))
    for line, row in table.rows:
        try:
            facts = LAYOUTS[rank].read(row)
        except ValueError as error:
            result.unreadable.append((line, str(error)))
            with contextlib.suppress(ValueError):  # without an id, the row spoils no image
                result.spoilt[image_id(row)] = f"unreadable row {line} of {Path(table.locator).name}: {error}"
            continue
        if facts.image_id is not None:
            result.by_image[facts.image_id].append(facts)
        elif facts.lesion_id is not None:
            result.by_lesion[facts.lesion_id].append(facts)
    return result


def _relevant(tables: list[_Read], tree: Tree, ids: list[str], classed: int) -> list[_Read]:
    """The tables that describe images of a tree, the most relevant first.

    Folders that name classes are a data set of their own. The table of another data set relabels it only if it
    lists at least half of its images.
    """
    here = set(ids)

    def overlap(table: _Read) -> float:
        common = len(here & table.by_image.keys())
        return common / max(1, len(here | table.by_image.keys()))

    def applies(table: _Read) -> bool:
        if table.tree == tree.path or classed * 2 < len(ids):
            return True
        return len(here & table.by_image.keys()) * 2 >= len(here)

    chosen = [table for table in tables if applies(table)]
    return sorted(chosen, key=lambda t: (t.tree != tree.path, -overlap(t), t.rank, t.locator))


def _row(name: str, tables: list[_Read]) -> dict[str, object]:
    known = [facts for table in tables for facts in table.by_image.get(name, ())]
    lesion = next((facts.lesion_id for facts in known if facts.lesion_id), None)
    if lesion is not None:
        known += [facts for table in tables for facts in table.by_lesion.get(lesion, ())]
    merged = _merge(known)
    row: dict[str, object] = {key: getattr(merged, key) for key in _KEPT}
    row["image_id"] = name
    if merged.source == "ISIC 2019" and lesion is not None:  # HAM_0000118, BCN_0000550, MSK4_0010987
        row["source"] = f"ISIC 2019/{lesion.partition('_')[0].rstrip('0123456789')}"
    row["excluded"] = _reason(merged, known)
    return row


def _merge(known: Iterable[Facts]) -> Facts:
    """For each field the first value that is known."""
    merged: dict[str, object] = {}
    for facts in known:
        for key in FIELDS:
            value = getattr(facts, key)
            if value is not None and key not in merged:
                merged[key] = value
    return dataclasses.replace(Facts(), **merged)  # type: ignore[arg-type]


def _reason(merged: Facts, known: list[Facts]) -> str:
    """Why an image cannot be used, or an empty string."""
    if merged.modality is not None and merged.modality != DERMOSCOPIC:
        return f"not dermoscopic: {merged.modality}"
    if merged.manipulation in ("altered", "synthetic"):
        return f"{merged.manipulation} image"
    if merged.weightless:
        return "of no weight in the official scoring"
    for target in ("malignant", "melanoma"):
        if len({getattr(facts, target) for facts in known} - {None}) > 1:
            return "its labels disagree"
    return ""


def _unlabelled(row: dict[str, object], tables: list[_Read]) -> str:
    if row["malignant"] is not None or row["melanoma"] is not None:
        return ""
    name = str(row["image_id"])
    return next((table.spoilt[name] for table in tables if name in table.spoilt), "no label")


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame["age_approx"] = frame["age_approx"].astype("float64")
    frame["year"] = frame["year"].astype("Int64")
    return frame.astype({"malignant": "boolean", "melanoma": "boolean"})


def _check_labels(frame: pd.DataFrame, passed_over: dict[str, str]) -> None:
    if frame[["malignant", "melanoma"]].notna().any(axis=None):
        return
    why = f"{len(frame)} images, none with a label"
    if named := frame["diagnosis"].notna().sum():
        why += f" ({named} with a diagnosis that gives neither target)"
    if passed_over:
        locator, reason = next(iter(passed_over.items()))
        why += f"; {locator}: {reason}"
    first = files.split_locator(str(frame["path"].iloc[0]))[0]
    raise DataError(f"{first}: {why}; add the table with their diagnoses, or sort them into class folders")


def _inputs(
    trees: list[Tree], tables: list[_Read], passed_over: dict[str, str], ids: set[object]
) -> dict[str, object]:
    without = {table.locator: sorted(set(table.by_image) - ids) for table in tables}
    return {
        "trees": [
            {"path": tree.path, "images": len(tree.images), "masks_passed_over": len(tree.passed_over)}
            for tree in trees
            if tree.images or tree.passed_over
        ],
        "tables": [
            {
                "path": table.locator,
                "layout": LAYOUTS[table.rank].name,
                "rows": table.rows,
                "unreadable_rows": len(table.unreadable),
                "first_unreadable": [f"line {n}: {why}" for n, why in table.unreadable[:_MAX_EXAMPLES]],
                "rows_without_image": len(without[table.locator]),
                "first_without_image": without[table.locator][:_MAX_EXAMPLES],
            }
            for table in tables
        ],
        "tables_passed_over": [{"path": path, "reason": reason} for path, reason in passed_over.items()],
    }

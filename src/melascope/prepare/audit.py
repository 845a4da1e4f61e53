"""The audit of a data set: what is in it, what leaks, what is copied, and whether the label can be guessed.

`audit.json` holds what `measure` returns, and what `prepare` adds of its inputs and options.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from melascope.labels import TARGETS
from melascope.manifest import data_set
from melascope.prepare import probes
from melascope.prepare.scan import Scan
from melascope.prepare.verdicts import verdicts
from melascope.progress import Progress, silent

_COUNTED = ("diagnosis", "year", "source", "modality", "sex", "site", "skin_type", "license", "confirmed_by")
_MAX_EXAMPLES = 24  # pairs or images of each kind that are named
_MAX_NAMED = 1000  # excluded images that are named for one reason


def measure(
    records: pd.DataFrame,
    scan: Scan,
    pairs: pd.DataFrame,
    manifest: pd.DataFrame,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Audit a data set.

    Args:
        records: the manifest's columns, `year` and `given_split`, one row an image.
        scan: of the same images.
        pairs: of copies, from `duplicates.find`.
        manifest: the table as it will be written; the splits made.
        seed: of the probes.
        progress: called with (what, done, total).

    Returns:
        JSON-able: `verdicts`, `images`, `usable`, `counts`, `missing`, `sizes`, `excluded`, `leaks` (of the splits
        that came with the data; None without), `duplicates`, `sources` (label against source), `probes` (by target),
        `splits` (as made).
    """
    used = records[records["excluded"] == ""]
    measured: dict[str, Any] = {
        "images": len(records),
        "usable": len(used),
        "counts": _counts(used),
        "missing": {
            name: int(used[name].isna().sum()) for name in manifest.columns if used[name].isna().any()
        },
        "sizes": _sizes(scan.table.loc[used.index]),
        "excluded": _excluded(records),
        "leaks": _leaks(used, pairs),
        "duplicates": _duplicates(records, pairs),
        "sources": _sources(used),
        "probes": {target: probes.probe(used, scan, target, seed, progress) for target in TARGETS},
        "splits": _splits(manifest[manifest["excluded"] == ""]),
    }
    return {"verdicts": verdicts(measured), **measured}


def _counts(used: pd.DataFrame) -> dict[str, dict[str, int]]:
    classes = {target: used[target].map({True: target, False: f"not {target}"}) for target in TARGETS}
    ages = (used["age_approx"] // 10 * 10).map(lambda age: f"{age:.0f} to {age + 9:.0f}", na_action="ignore")
    columns = classes | {"age": ages} | {name: used[name] for name in _COUNTED}
    return {name: _count(column, name == "age") for name, column in columns.items()}


def _count(column: "pd.Series[Any]", by_name: bool = False) -> dict[str, int]:
    counts = column.value_counts()
    counts = counts.sort_index() if by_name else counts
    known = {str(name): int(n) for name, n in counts.items()}
    unknown = int(column.isna().sum())
    return known | ({"not known": unknown} if unknown else {})


def _sizes(table: pd.DataFrame) -> dict[str, Any]:
    shapes = (table["width"].astype(str) + " x " + table["height"].astype(str)).value_counts()
    shorter = table[["width", "height"]].min(axis=1)
    return {
        "distinct": len(shapes),
        "most_common": {str(shape): int(n) for shape, n in shapes.head(8).items()},
        "shorter_side": {
            name: float(shorter.quantile(q)) for name, q in (("least", 0), ("median", 0.5), ("most", 1))
        },
    }


def _excluded(records: pd.DataFrame) -> dict[str, Any]:
    excluded = records[records["excluded"] != ""]
    return {
        str(reason): {"n": len(rows), "images": rows["path"].head(_MAX_NAMED).tolist()}
        for reason, rows in excluded.groupby("excluded", sort=True)
    }


def _leaks(used: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any] | None:
    """How the splits that came with the data share images, lesions and patients."""
    given = used["given_split"]
    if given.nunique() < 2:
        return None
    leaks: dict[str, Any] = {"images": _count(given)}
    for split, others in (("test", ["train", "validation"]), ("validation", ["train"])):
        mine, theirs = used[given == split], used[given.isin(others)]
        if mine.empty or theirs.empty:
            continue
        leaking = {"same id": mine["image_id"].isin(theirs["image_id"])}
        for kind in ("exact", "near"):
            leaking[f"{kind} copy"] = mine.index.to_series().isin(_linked(pairs, kind, theirs.index))
        for column in ("lesion_id", "patient_id"):
            known = theirs[column].dropna()
            leaking[f"same {column.removesuffix('_id')}"] = mine[column].isin(known) & mine[column].notna()
        any_of = np.logical_or.reduce([column.to_numpy(dtype=bool) for column in leaking.values()])
        leaks[split] = {
            "with": others,
            "images": len(mine),
            "any": int(any_of.sum()),
            "by": {name: int(column.sum()) for name, column in leaking.items()},
            "first": mine["image_id"][any_of].head(_MAX_EXAMPLES).tolist(),
        }
    return leaks


def _linked(pairs: pd.DataFrame, kind: str, rows: Iterable[int]) -> set[int]:
    """Images that a pair of this kind links to one of the rows, which are among them if linked to each other."""
    chosen, inside = pairs[pairs["kind"] == kind], set(rows)
    if kind == "exact":
        # Exact copies are all paired with the first of them; any two of them are linked through it.
        firsts = {*chosen["i"][chosen["j"].isin(inside)], *chosen["i"][chosen["i"].isin(inside)]}
        return {*firsts, *chosen["j"][chosen["i"].isin(firsts)]}
    return {*chosen["j"][chosen["i"].isin(inside)], *chosen["i"][chosen["j"].isin(inside)]}


def _duplicates(records: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    source = data_set(records["source"])
    ends = pd.DataFrame({"a": source.loc[pairs["i"]].to_numpy(), "b": source.loc[pairs["j"]].to_numpy()})
    between = pd.DataFrame(np.sort(ends.to_numpy(dtype=str), axis=1), columns=["a", "b"])
    kinds = between.assign(kind=pairs["kind"].to_numpy())
    clash = np.zeros(len(pairs), dtype=bool)
    for target in TARGETS:
        one, other = (records[target].loc[pairs[end]].reset_index(drop=True) for end in ("i", "j"))
        clash |= (one != other).fillna(False).to_numpy(dtype=bool)
    near = pairs[pairs["kind"] == "near"].sort_values("similarity")
    shown = (
        near.iloc[np.unique(np.linspace(0, max(len(near) - 1, 0), _MAX_EXAMPLES).astype(int))]
        if len(near)
        else near
    )
    bins = np.round(np.arange(0.7, 1.001, 0.05), 2)
    return {
        "exact": int((pairs["kind"] == "exact").sum()),
        "near": len(near),
        "between_sources": [
            {"sources": [str(a), str(b)], "kind": str(kind), "pairs": len(rows)}
            for (a, b, kind), rows in kinds.groupby(["a", "b", "kind"], sort=True)
        ],
        "conflicting_labels": {
            "n": int(clash.sum()),
            "pairs": _pairs(records, pairs[clash].head(_MAX_EXAMPLES)),
        },
        "similarity": {
            "from": bins[:-1].tolist(),
            "pairs": np.histogram(near["similarity"].astype(float), bins)[0].tolist(),
        },
        "examples": _pairs(records, shown),
        "pairs": _pairs(records, pairs),
    }


def _pairs(records: pd.DataFrame, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    ids = records["image_id"].to_numpy()
    return [
        {
            "images": [str(ids[pair["i"]]), str(ids[pair["j"]])],
            "rows": [int(pair["i"]), int(pair["j"])],
            "kind": pair["kind"],
            "similarity": round(float(pair["similarity"]), 3),
            "transform": pair["transform"],
        }
        for pair in pairs.to_dict("records")
    ]


def _sources(used: pd.DataFrame) -> list[dict[str, Any]]:
    """Label against source."""
    rows = []
    for source, part in used.groupby("source", sort=True):
        row: dict[str, Any] = {"source": str(source), "images": len(part)}
        for target in TARGETS:
            known = part[target].dropna().astype(bool)
            share = round(float(known.mean()), 4) if len(known) else None
            row[target] = {"n": len(known), "positive": int(known.sum()), "share": share}
        rows.append(row)
    return rows


def _splits(kept: pd.DataFrame) -> dict[str, Any]:
    """The splits made, and how many groups span two of them: none, unless leaks were allowed."""
    spans = kept.groupby("group")["split"].nunique()
    return {
        "images": _count(kept["split"]),
        "groups": len(spans),
        "groups_in_two_splits": int((spans > 1).sum()),
    }

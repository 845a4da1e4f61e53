"""Splits: each group of images goes to train, validation or test, stratified by source and label."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files
from melascope.errors import DataError
from melascope.manifest import SPLITS

_MAX_NAMED = 5


@dataclass(frozen=True)
class Options:
    """How a data set is split.

    Raises:
        DataError: if the fractions are not three that sum to 1.
    """

    keep_splits: bool = False
    """Take the splits that the data came with."""
    allow_leaks: bool = False
    """Accept kept splits that share groups."""
    fractions: Sequence[float] = (0.7, 0.15, 0.15)
    """Of the images, for train, validation and test."""
    seed: int = 0
    """Decides which group goes where."""

    def __post_init__(self) -> None:
        shares = self.fractions
        valid = len(shares) == len(SPLITS) and all(0 <= share <= 1 for share in shares)
        if not valid or abs(sum(shares) - 1) > 1e-6 or shares[0] == 0:
            given = ",".join(f"{share:g}" for share in shares)
            raise DataError(f"fractions {given}: give three that sum to 1, such as 0.7,0.15,0.15")


def make(rows: pd.DataFrame, options: Options, listing: Path) -> pd.Series:
    """Give each image a split.

    Args:
        rows: `image_id`, `path`, `group`, `source`, `malignant`, `melanoma`, `given_split` of the usable images.
        options: how.
        listing: CSV file for the images of all groups that span splits; removed if there are none.

    Returns:
        The split of each row.

    Raises:
        DataError: if kept splits are incomplete or, unless leaks are allowed, share groups.
    """
    if options.keep_splits:
        return keep(rows, options.allow_leaks, listing)
    listing.unlink(missing_ok=True)
    return assign(rows, options.fractions, options.seed)


def assign(rows: pd.DataFrame, fractions: Sequence[float], seed: int) -> pd.Series:
    """Give each image a split, so that no group spans two.

    A group belongs to the stratum of its source and of its most specific label. Each stratum starts with its largest
    groups; equal ones follow in an order that depends only on `seed` and their names. Each goes to the split that is
    furthest behind its share, so that large groups are distributed like small ones. A group that no split has
    room for goes where most is missing. The next stratum of that label makes up for what remains uneven.

    Args:
        rows: `image_id`, `group`, `source`, `malignant`, `melanoma` of the usable images.
        fractions: of the images, for train, validation and test; they sum to 1.
        seed: another seed gives other splits.

    Returns:
        The split of each row.
    """
    groups = _describe(rows)
    share = np.asarray(fractions, dtype=np.float64)
    assigned: dict[str, str] = {}
    for _, of_label in groups.groupby("label", sort=True):
        owed = np.zeros(len(share))
        for _, stratum in of_label.groupby("source", sort=True):
            lacking = share * stratum["size"].sum() + owed
            sizes = {str(name): int(size) for name, size in stratum["size"].items()}
            for name in sorted(sizes, key=lambda name: (-sizes[name], _draw(seed, name))):
                split = _furthest_behind(lacking, share, sizes[name])
                lacking[split] -= sizes[name]
                assigned[name] = SPLITS[split]
            # A huge group must not push everything of the next source into the other splits.
            owed = np.clip(lacking, -1, 1)
    return rows["group"].map(assigned)


def _furthest_behind(lacking: NDArray[np.float64], share: NDArray[np.float64], size: int) -> int:
    room = (share > 0) & (lacking >= size)
    # A split of no share never gets a group.
    behind = np.divide(lacking, share, out=np.zeros_like(share), where=share > 0)
    score = np.where(room, behind, -np.inf) if room.any() else np.where(share > 0, lacking, -np.inf)
    # Rounded, so that ties do not hang on the last bit; among equals the largest share comes first.
    return int(np.lexsort((share, np.round(score, 9)))[-1])


def _describe(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a group: its size, its source and its most specific label."""
    label = pd.Series("benign", index=rows.index)
    label[rows["malignant"].isna()] = "unknown"
    label[rows["malignant"].fillna(False)] = "malignant"
    label[rows["melanoma"].fillna(False)] = "melanoma"
    rank = label.map({"melanoma": 0, "malignant": 1, "unknown": 2, "benign": 3})
    by_group = rows.assign(rank=rank).groupby("group")
    return pd.DataFrame(
        {"size": by_group.size(), "source": by_group["source"].min(), "label": by_group["rank"].min()}
    )


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\t{name}".encode()).digest()


def leaks(rows: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    """The rows of groups that span two splits, sorted by group; `rows` holds `group`."""
    spans = split.groupby(rows["group"]).transform("nunique") > 1
    return rows[spans].assign(split=split[spans]).sort_values(["group", "split", "image_id"])


def keep(rows: pd.DataFrame, allow_leaks: bool, listing: Path) -> pd.Series:
    """Take the splits that the data came with.

    Args:
        rows: `image_id`, `path`, `group`, `given_split` of the usable images.
        allow_leaks: accept groups that span splits.
        listing: CSV file that lists the images of groups that span splits; removed if there are none.

    Raises:
        DataError: if an image has none, or, unless `allow_leaks`, groups span splits.
    """
    split = rows["given_split"]
    if split.isna().any():
        name = rows.loc[split.isna(), "path"].iloc[0]
        raise DataError(
            f"--keep-splits: {split.isna().sum()} of {len(rows)} images have no split ({name} ...); "
            "leave the option out"
        )
    leaking = leaks(rows, split)
    if leaking.empty:
        listing.unlink(missing_ok=True)
    else:
        files.write_text(listing, leaking[["group", "split", "image_id", "path"]].to_csv(index=False))
    if len(leaking) and not allow_leaks:
        groups = leaking.groupby("group")
        first = [
            f"{name} ({', '.join(sorted(set(part['split']), key=SPLITS.index))})"
            for name, part in list(groups)[:_MAX_NAMED]
        ]
        tested = (leaking["split"] == "test").sum()
        raise DataError(
            f"--keep-splits: {len(groups)} groups of copies, lesions or patients span splits; {tested} of "
            f"{(split == 'test').sum()} test images are affected: {', '.join(first)} ... (all in {listing}); "
            "leave --keep-splits out for splits without leaks, or add --allow-leaks and trust no figure"
        )
    return split

"""Groups: images that must share a split, as connected components of patient, lesion, id and duplicate."""

import re
from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from melascope.manifest import data_set

# Ids that the archive or a challenge issues once, so that they mean the same person or lesion in every data set.
_SHARED_ID = re.compile(r"(IP|IL|HAM|BCN|MSK\d*)_\w+", re.IGNORECASE)
_MIN_CORRELATION = 0.9  # the 126 such pairs of neural_network_data.zip reach 0.95, all turned or mirrored
CLASH = "two different images with one id"


def keys(records: pd.DataFrame) -> pd.DataFrame:
    """What connects images, one column for each kind of connection; missing where there is none.

    Patient and lesion ids of one data set say nothing about another's, unless the archive issued them.
    """

    def scoped(column: str) -> pd.Series:
        values = records[column]
        shared = values.astype("string").str.fullmatch(_SHARED_ID).fillna(False).astype(bool)
        local = data_set(records["source"]) + "\t" + values.astype("string")
        return values.where(shared, local).where(values.notna())

    return pd.DataFrame(
        {
            "patient": scoped("patient_id"),
            "lesion": scoped("lesion_id"),
            "image": records["image_id"],
            "pixels": records["pixel_hash"],
        }
    )


def components(ties: pd.DataFrame, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number the connected components.

    Args:
        ties: see `keys`, n rows; rows that agree in a column are connected.
        first, second: rows of pairs that are connected.

    Returns:
        Shape (n,): the component of each row.
    """
    n = len(ties)
    heads, tails, nodes = [first], [second], n
    for column in ties:
        codes, uniques = pd.factorize(ties[column])
        rows = np.flatnonzero(codes >= 0)
        heads.append(rows)
        tails.append(codes[rows] + nodes)  # a node for each value, so that k rows need k edges
        nodes += len(uniques)
    head, tail = np.concatenate(heads), np.concatenate(tails)
    graph = coo_array((np.ones(len(head), dtype=bool), (head, tail)), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return component[:n].astype(np.intp)


def name_groups(component: NDArray[np.intp], image_id: pd.Series) -> pd.Series:
    """Name each component by the smallest image id in it; the order of the rows does not matter."""
    return image_id.groupby(component).transform("min")


def official_pairs(image_id: pd.Series, pairs: Iterable[tuple[str, str]]) -> NDArray[np.intp]:
    """Rows of the pairs of ids that an official list calls duplicates, shape (2, k)."""
    first_row = {name: row for row, name in reversed(list(enumerate(image_id)))}
    rows = [(first_row[a], first_row[b]) for a, b in pairs if a in first_row and b in first_row]
    return np.array(rows, dtype=np.intp).reshape(-1, 2).T


def chains(
    image_id: pd.Series, first: NDArray[np.intp], second: NDArray[np.intp], limit: int = 5
) -> list[dict[str, object]]:
    """The largest groups that links between duplicates alone make: where a loose link would show.

    Returns:
        For each of at most `limit` groups of more than two images, largest first: `images`, how many, and
        `first`, the first image ids.
    """
    part = components(pd.DataFrame(index=image_id.index), first, second)
    sizes = np.bincount(part)
    large = [int(p) for p in np.argsort(-sizes, kind="stable")[:limit] if sizes[p] > 2]
    return [{"images": int(sizes[p]), "first": image_id[part == p].iloc[:limit].tolist()} for p in large]


def clashes(
    records: pd.DataFrame,
    pixel_hash: pd.Series,
    grey: NDArray[np.uint8],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Find images of one source that share an id, yet are not copies of each other.

    Args:
        records: `image_id` and `source`.
        pixel_hash: empty where the image cannot be read.
        grey: shape (n, side, side), a small grey version of each image.
        first, second: rows of duplicate pairs.

    Returns:
        Shape (n,): true for every image of such an id.
    """
    name = data_set(records["source"]) + "\t" + records["image_id"]
    shared = name[(pixel_hash != "") & name.duplicated(keep=False)]
    alike = [
        pair
        for rows in shared.groupby(shared).groups.values()
        for pair in combinations(rows, 2)
        if _alike(grey[pair[0]], grey[pair[1]])
    ]
    more, than = np.array(alike, dtype=np.intp).reshape(-1, 2).T
    ties = pd.DataFrame({"pixels": pixel_hash.where(pixel_hash != "")})
    part = components(ties, np.concatenate([first, more]), np.concatenate([second, than]))
    parts = pd.Series(part, index=records.index)[shared.index]
    clash = parts.groupby(shared).transform("nunique") > 1
    return clash.reindex(records.index, fill_value=False).to_numpy(dtype=bool)


def _alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two images are copies, turned or mirrored perhaps.

    A shared id is evidence by itself, so this asks for less than the search for duplicates does.
    """
    a = one.astype(np.float64) - one.mean()
    b = other.astype(np.float64) - other.mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    turned = (np.rot90(mirrored, turns) for mirrored in (b, b[:, ::-1]) for turns in range(4))
    return bool(norm == 0 or max((a * view).sum() for view in turned) / norm >= _MIN_CORRELATION)

"""Copies of images: exact ones by their pixels, near ones by their detail.

A near copy may be re-scaled, re-encoded, recoloured, mirrored, turned by quarters, or cropped a little. All lesions
are dark blobs on bright skin, so plain correlation of luminance finds thousands of false pairs. Two things prevent
that. What is compared is luminance with its local contrast normalised (Jarrett et al. 2009), in which skin and
structure count as much as the blob. And a match that is not overwhelming must stand out: it must beat the next
best match of either image by a margin (the ratio test of Lowe 2004), which that of a plain round naevus never does.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from melascope.arrays import Float32
from melascope.prepare.scan import Scan
from melascope.progress import Progress, silent

COLUMNS = ["i", "j", "kind", "similarity", "transform"]
TRANSFORMS = tuple(
    f"{mirror}{90 * turns}" for mirror in ("turned ", "mirrored, turned ") for turns in range(4)
)

CERTAIN = 0.92  # correlation of detail from which on a pair is a copy
LIKELY = 0.72  # from here on it is one if it stands out
MARGIN = 0.10  # by so much, over the next best match of either image
_MIN_COARSE = 0.6  # correlation at a third of the resolution
_MIN_UNSHIFTED = 0.35  # correlation before small shifts are tried
_MAX_SHIFT = 2  # pixels of 64
_EDGE = 12  # pixels of 64 left out on each side: frames and dark corners look alike on all images of a clinic
_BLOCK, _CHUNK = 2048, 512


def find(scan: Scan, readable: NDArray[np.intp], progress: Progress = silent) -> pd.DataFrame:
    """Find all pairs of copies.

    Args:
        scan: of the images.
        readable: positions of those that may be compared, ascending.
        progress: called with (what, done, total).

    Returns:
        One row a pair, i < j: positions `i` and `j`, `kind` (exact or near), `similarity` (correlation of
        detail, -1 to 1), and `transform`, one of `TRANSFORMS`: what turns j into i. Of exact copies, each is
        paired with the first one.
    """
    hashes = scan.table["pixel_hash"].iloc[readable]
    first = pd.Series(readable, index=readable).groupby(hashes.to_numpy()).transform("first").to_numpy()
    copies = readable[first != readable]
    exact = pd.DataFrame({"i": first[first != readable], "j": copies, "kind": "exact", "similarity": 1.0})
    exact["transform"] = TRANSFORMS[0]
    rows = readable[first == readable]
    near = _near(_detail(scan.features["grey"], rows, progress), progress)
    near["i"], near["j"] = rows[near["i"]], rows[near["j"]]
    return pd.concat([exact, near], ignore_index=True)[COLUMNS].sort_values(["i", "j"], ignore_index=True)


def _detail(grey: NDArray[np.uint8], rows: NDArray[np.intp], progress: Progress) -> NDArray[np.int8]:
    """Luminance less local mean and contrast, shape (rows, side, side), in eight bits to save memory."""
    detail = np.empty((len(rows), *grey.shape[1:]), dtype=np.int8)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        smooth = gaussian_filter(grey[rows[part]].astype(np.float32), (0, 0.7, 0.7))
        band = smooth - gaussian_filter(smooth, (0, 3, 3))
        spread = np.sqrt(gaussian_filter(band * band, (0, 3, 3)))
        # The 2 keeps the noise of plain skin from being blown up to structure.
        detail[part] = np.clip(band / (spread + 2) * 40, -127, 127)
        progress("duplicates: detail of images", min(part.stop, len(rows)), len(rows))
    return detail


def _near(detail: NDArray[np.int8], progress: Progress) -> pd.DataFrame:
    pairs = pd.DataFrame(np.concatenate(list(_candidates(detail, progress))), columns=["i", "j", "transform"])
    if pairs.empty:
        return pd.DataFrame(columns=COLUMNS)
    pairs["similarity"] = _verify(detail, pairs, progress)
    best = pairs.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(["i", "j"])
    accepted = best[_stands_out(best)]
    return accepted.assign(kind="near", transform=[TRANSFORMS[t] for t in accepted["transform"]])


def _candidates(detail: NDArray[np.int8], progress: Progress) -> Iterator[NDArray[np.intp]]:
    """Pairs that agree at a third of the resolution, as rows of i, j and number of the transform."""
    n, side = len(detail), detail.shape[1]
    edge = 8
    cells = (side - 2 * edge) // 3
    coarse = np.empty((n, cells, cells), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        inner = detail[start : start + _BLOCK, edge : side - edge, edge : side - edge]
        coarse[start : start + _BLOCK] = inner.reshape(-1, cells, 3, cells, 3).mean(
            axis=(2, 4), dtype=np.float32
        )
    mine = _unit(coarse)
    for number in range(len(TRANSFORMS)):
        theirs = _unit(_transform(coarse, number))
        for start in range(0, n, _BLOCK):
            i, j = np.nonzero(mine[start : start + _BLOCK] @ theirs[start:].T > _MIN_COARSE)
            later = j > i
            i, j = i[later] + start, j[later] + start
            yield np.stack([i, j, np.full(len(i), number)], axis=1)
        progress("duplicates: candidates", number + 1, len(TRANSFORMS))


def _verify(detail: NDArray[np.int8], pairs: pd.DataFrame, progress: Progress) -> Float32:
    """Correlation of detail in the middle of each pair, at the best small shift."""
    i, j, number = (pairs[name].to_numpy(dtype=np.intp) for name in ("i", "j", "transform"))
    similarity = np.full(len(pairs), -1, dtype=np.float32)
    side = detail.shape[1]
    inner = slice(_EDGE, side - _EDGE)
    shifts = range(-_MAX_SHIFT, _MAX_SHIFT + 1)
    done = 0
    for transform in range(len(TRANSFORMS)):
        chosen = np.flatnonzero(number == transform)
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            one = _unit(detail[i[part], inner, inner])
            other = _transform(detail[j[part]], transform)
            unmoved = np.einsum("nk,nk->n", one, _unit(other[:, inner, inner]))
            plausible = unmoved > _MIN_UNSHIFTED
            one, other, best = one[plausible], other[plausible], unmoved[plausible]
            for down in shifts:
                for right in shifts:
                    rows = slice(_EDGE + down, side - _EDGE + down)
                    columns = slice(_EDGE + right, side - _EDGE + right)
                    moved = np.einsum("nk,nk->n", one, _unit(other[:, rows, columns]))
                    np.maximum(best, moved, out=best)
            unmoved[plausible] = best
            similarity[part] = unmoved
            done += len(part)
            progress("duplicates: verification", done, len(pairs))
    return similarity


def _stands_out(best: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs, best first, are copies: certain, or likely and better by a margin than any rival."""
    similarity = best["similarity"].to_numpy()
    certain = similarity >= CERTAIN
    # The two best matches of each image that are not themselves certain: the second is the first one's rival.
    ends = best[["i", "j"]].to_numpy()[~certain]
    count = int(ends.max(initial=-1)) + 1
    top, rival = np.zeros(count), np.zeros(count)
    for (i, j), value in zip(ends, similarity[~certain], strict=True):  # best first
        for end in (i, j):
            if top[end] == 0:
                top[end] = value
            elif rival[end] == 0:
                rival[end] = value
    likely = similarity[~certain] >= LIKELY
    leads = (top[ends] <= similarity[~certain][:, None]) & (top - rival >= MARGIN)[ends]
    copies = certain.copy()
    copies[~certain] = likely & leads.all(axis=1)
    return np.asarray(copies)


def _transform(images: NDArray[np.generic], number: int) -> NDArray[np.generic]:
    mirrored, turns = divmod(number, 4)
    return np.rot90(images[:, :, ::-1] if mirrored else images, turns, (1, 2))


def _unit(images: NDArray[np.generic]) -> Float32:
    """Flattened, mean 0, length 1: products of two are their correlation."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat

"""Choose and draw the images that a gate is trained on: lesions, and images that must be refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from melascope import images, manifest
from melascope.images import Pixels
from melascope.learn.pixels import decoded
from melascope.progress import Progress, silent
from melascope.synthetic.clutter import KINDS, clutter

PHOTOGRAPHS, SKIN = "photographs", "skin beside a lesion"
DRAWN = 150  # pictures of each drawn kind
_MAX_PER_KIND = 400  # images of any other kind
_MAX_PER_SOURCE = 1500  # lesions of a source
_MAX_UNEVENNESS = 30  # range of the mean luminance of eighths of a side within bare skin, of 255

Kind = tuple[str, str]
"""A kind of images that must be refused: a word for it, and its source; the source is empty for images from outside
the data set."""


@dataclass(frozen=True)
class Examples:
    """Images that gates are trained on, for networks of one input size S."""

    pixels: NDArray[np.uint8]
    """Of all usable images of the data set, shape (images, S, S, 3)."""
    train: Mapping[str, NDArray[np.intp]]
    """Indices of the images to learn from, by source."""
    held_out: Mapping[str, NDArray[np.intp]]
    """Indices of the images of the validation split, by source."""
    to_refuse: Mapping[Kind, NDArray[np.uint8]]
    """Images that must be refused, shape (images, S, S, 3) for each kind."""
    seed: int


def gather(
    data: Path,
    size: int,
    others: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    progress: Progress = silent,
    drawn: int = DRAWN,
) -> Examples:
    """Choose and draw the images that gates are trained on.

    These are the training split, the images that the data set left out for not being dermoscopic, and all else that
    must be refused. The validation split is held out.

    Args:
        data: a folder made by `prepare`.
        size: of the network's input, in pixels.
        others: locators of further images that must be refused, by a word for their kind.
        seed: for everything random.
        progress: called with (what, done, total).
        drawn: pictures of each drawn kind.

    Raises:
        DataError: if an image can no longer be read.
    """
    rng = np.random.default_rng(seed)
    table = manifest.read(data)
    used = manifest.usable(table).reset_index(drop=True)
    source, split = manifest.data_set(used["source"]).to_numpy(), used["split"].to_numpy()
    train, held_out = {}, {}
    for name in np.unique(source):
        rows = rng.permutation(np.flatnonzero((source == name) & (split == "train")))[:_MAX_PER_SOURCE]
        if len(rows):
            train[name] = rows
        held_out[name] = np.flatnonzero((source == name) & (split == "validation"))
    to_refuse = images_to_refuse(table, others or {}, size, rng, drawn)
    to_refuse |= _skin(used, source, size, rng, drawn)
    return Examples(decoded(used, size, data, progress), train, held_out, to_refuse, seed)


def images_to_refuse(
    table: pd.DataFrame,
    others: Mapping[str, Sequence[str]],
    size: int,
    rng: np.random.Generator,
    drawn: int = DRAWN,
) -> dict[Kind, NDArray[np.uint8]]:
    """Draw images that must be refused, and load those of a manifest and others; for arguments see `gather`.

    Returns:
        Shape (images, size, size, 3) for each kind.
    """
    pictures = {
        (kind, ""): np.stack(
            [images.square(clutter(kind, int(rng.integers(2**31))), size) for _ in range(drawn)]
        )
        for kind in KINDS
    }
    pictures[PHOTOGRAPHS, ""] = np.stack([_crop(rng, size) for _ in range(drawn)])
    left_out = table[table["excluded"].str.startswith("not dermoscopic")]
    sources = manifest.data_set(left_out["source"])
    named: dict[Kind, list[str]] = {}
    for kind, source, path in zip(left_out["modality"], sources, left_out["path"], strict=True):
        named.setdefault((str(kind), str(source)), []).append(path)
    for name, locators in {**named, **{(kind, ""): list(names) for kind, names in others.items()}}.items():
        chosen = rng.permutation(len(locators))[:_MAX_PER_KIND]
        pictures[name] = np.stack([images.load(locators[i], size) for i in chosen])
    return pictures


def _crop(rng: np.random.Generator, size: int) -> Pixels:
    """A part of one of two photographs that come with scikit-learn: a temple, a flower."""
    picture = load_sample_images().images[int(rng.integers(2))]
    side = int(rng.integers(60, min(picture.shape[:2])))
    top, left = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
    return images.square(picture[top : top + side, left : left + side], size)


def _skin(
    used: pd.DataFrame, source: NDArray[np.object_], size: int, rng: np.random.Generator, wanted: int
) -> dict[Kind, NDArray[np.uint8]]:
    """The evenest quarter of dermoscopic images, where it shows skin alone, by source."""
    patches = {}
    for name in np.unique(source):
        rows = rng.permutation(np.flatnonzero((source == name) & (used["split"] == "train").to_numpy()))
        quarters = (_evenest_quarter(used["path"].iloc[row], size) for row in rows[: 4 * wanted])
        skin = (quarter for quarter in quarters if _unevenness(quarter) < _MAX_UNEVENNESS)
        if chosen := list(islice(skin, wanted)):  # no image is read once there are enough
            patches[SKIN, str(name)] = np.stack(chosen)
    return patches


def _evenest_quarter(locator: str, size: int) -> Pixels:
    whole = images.load(locator, 2 * size)
    return min((whole[y : y + size, x : x + size] for y in (0, size) for x in (0, size)), key=_unevenness)


def _unevenness(pixels: Pixels) -> float:
    return float(np.ptp(images.square(pixels, 8) @ np.array([0.299, 0.587, 0.114])))

"""Decoded images are kept, so that an epoch costs training and no decoding."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files, images
from melascope.progress import Progress, silent

FOLDER = ".pixels"


def decoded(
    table: pd.DataFrame, size: int, data: str | Path, progress: Progress = silent
) -> NDArray[np.uint8]:
    """The pixels of a table's images at a network's input size.

    They are decoded once and kept in the data set folder, named by content, so that the next training starts at once.

    Returns:
        Shape (rows, size, size, 3), mapped from the file: only the parts in use take memory.

    Raises:
        DataError: if an image can no longer be read.
    """
    key = hashlib.sha256("\n".join([str(size), *table["pixel_hash"]]).encode()).hexdigest()[:16]
    path = Path(data) / FOLDER / f"{size}-{key}.npy"
    if not path.is_file():
        with files.replacing(path) as beside:
            locators = table["path"].tolist()
            shape = (len(locators), size, size, 3)
            kept = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=shape)
            for i, image in enumerate(
                images.each(locators, size, lambda _, image: image, "decoding images", progress)
            ):
                kept[i] = image
            kept.flush()
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return pixels

"""Decoded images, kept: an epoch should cost training, not decoding."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import files, images
from melascope.errors import DataError, ImageError
from melascope.progress import Progress, silent

FOLDER = ".pixels"


def decoded(
    table: pd.DataFrame, size: int, data: str | Path, progress: Progress = silent
) -> NDArray[np.uint8]:
    """The pixels of a table's images as a network of this input size sees them.

    Decoded once and kept in the data set folder, named by content, so that the next training starts at once.

    Returns:
        Array of shape (rows, size, size, 3), mapped from the file: only what is used takes memory.

    Raises:
        DataError: if an image can no longer be read.
    """
    key = hashlib.sha256("\n".join([str(size), *table["pixel_hash"]]).encode()).hexdigest()[:16]
    path = Path(data) / FOLDER / f"{size}-{key}.npy"
    if not path.is_file():
        with files.replacing(path) as beside:
            _decode(table["path"].tolist(), size, beside, progress)
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return pixels


def _decode(locators: Sequence[str], size: int, path: Path, progress: Progress) -> None:
    shape = (len(locators), size, size, 3)
    kept = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for i, pixels in enumerate(pool.map(lambda locator: images.load(locator, size), locators)):
                kept[i] = pixels
                progress("decoding images", i + 1, len(locators))
        except ImageError as error:
            pool.shutdown(cancel_futures=True)
            raise DataError(f"{error}; it could be read before: prepare the data set again") from error
    kept.flush()

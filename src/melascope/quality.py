"""The technical quality of an image, in plain numbers."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melascope.images import Pixels, square

_SIDE = 224  # sharpness depends on scale, so every image is measured at one


class Quality(NamedTuple):
    """Quality of one image, measured on its central square at 224 x 224 pixels."""

    sharpness: float
    """Variance of the Laplacian of luminance (Pech-Pacheco et al. 2000), luminance 0 to 255."""
    contrast: float
    """Standard deviation of luminance, 0 to 127.5."""
    brightness: float
    """Mean luminance, 0 to 255."""
    width: int
    """Pixels of the image itself."""
    height: int


def measure(pixels: Pixels, size: tuple[int, int] | None = None) -> Quality:
    """Measure one image.

    Args:
        pixels: shape (height, width, 3).
        size: width and height of the image itself, where `pixels` are fewer.
    """
    luminance = np.asarray(Image.fromarray(pixels).convert("L"))
    grey = square(luminance, _SIDE).astype(np.int16)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    brightness, contrast = _mean_and_deviation(grey)
    width, height = size or pixels.shape[1::-1]
    return Quality(_mean_and_deviation(laplacian)[1] ** 2, contrast, brightness, width, height)


def _mean_and_deviation(values: NDArray[np.int16]) -> tuple[float, float]:
    flat = values.ravel().astype(np.float32)
    mean = flat.mean()
    flat -= mean
    return float(mean), math.sqrt(float(flat @ flat) / flat.size)

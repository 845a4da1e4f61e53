"""What `prepare` remembers of every image's pixels: small, cheap, computed once, at scan time.

Duplicates and shortcut probes work on these arrays alone, so no image is decoded twice.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melascope.images import Pixels, square

GREY_SIDE = 64
WHOLE_SIDE = 32
_MAX_BLACK = 32  # luminance below which a pixel belongs to a dark frame rather than to skin


def describe(pixels: Pixels) -> dict[str, NDArray[np.generic]]:
    """Describe one image in about 7 KB.

    Args:
        pixels: uint8, shape (height, width, 3), both sides at least 1.

    Returns:
        "grey": uint8 (64, 64), luminance of the central square;
        "whole": uint8 (32, 32, 3), the whole frame, its sides squashed to equal length;
        "corners": float32 (11,), statistics of the four corner patches: mean and deviation of each channel, luminance
        of the darkest and the brightest patch and its deviation between patches, fine detail (all 0 to 255), and
        the share of black pixels (0 to 1). A patch measures an eighth of the shorter side (16 x 16
        pixels of 128 x 128), so it sees no lesion that is roughly centred.
    """
    size = (WHOLE_SIDE, WHOLE_SIDE)
    whole = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    grey = Image.fromarray(square(pixels, GREY_SIDE)).convert("L")
    return {"grey": np.asarray(grey), "whole": np.asarray(whole), "corners": _corners(pixels)}


def _corners(pixels: Pixels) -> NDArray[np.float32]:
    side = max(1, min(pixels.shape[:2]) // 8)
    patches = np.stack(
        [
            pixels[:side, :side],
            pixels[:side, -side:],
            pixels[-side:, :side],
            pixels[-side:, -side:],
        ]
    ).astype(np.float32)
    light = patches @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luminance of ITU-R BT.601
    each = light.mean(axis=(1, 2))
    detail = np.abs(np.diff(light, axis=2)).mean() if side > 1 else 0.0
    return np.array(
        [
            *patches.mean(axis=(0, 1, 2)),
            *patches.std(axis=(0, 1, 2)),
            each.min(),
            each.max(),
            each.std(),
            detail,
            (light < _MAX_BLACK).mean(),
        ],
        dtype=np.float32,
    )

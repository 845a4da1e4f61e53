"""Images without their lesion, and lesions without their image."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from melascope.images import Pixels

_FRINGE = 0.04  # of the side: lesions fade out beyond their masks

Mask = NDArray[np.bool_]


def hidden(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> Pixels:
    """The image without its lesion: painted over with what surrounds it, its unevenness and its grain.

    Each place takes the mean of the nearest skin, over the narrowest Gaussian that reaches enough of it (normalised
    convolution, Knutsson and Westin 1993).

    Args:
        pixels: shape (S, S, 3).
        mask: where the lesion is, shape (S, S).
        rng: of the grain.
    """
    inside = _wide(mask)
    skin = (~inside).astype(np.float64)
    if not skin.any():
        return np.full_like(pixels, 128)
    filled = np.full(pixels.shape, np.nan)
    for sigma in (3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 192.0):
        reach = gaussian_filter(skin, sigma)
        near = (
            gaussian_filter(pixels * skin[..., None], (sigma, sigma, 0)) / np.maximum(reach, 1e-9)[..., None]
        )
        empty = np.isnan(filled[..., 0]) & (reach > 0.08)
        filled[empty] = near[empty]
        if not np.isnan(filled).any():  # wider ones take longest
            break
    filled[np.isnan(filled)] = np.broadcast_to(pixels[~inside].mean(axis=0), filled.shape)[np.isnan(filled)]
    filled = np.where(inside[..., None], gaussian_filter(filled, (4, 4, 0)), filled)
    grain = (pixels - gaussian_filter(pixels.astype(np.float64), (2, 2, 0)))[~inside]
    filled += grain[rng.integers(len(grain), size=mask.shape)] * inside[..., None]
    edge = gaussian_filter(inside.astype(np.float64), 1.5)[..., None]
    return np.asarray((edge * filled + (1 - edge) * pixels).clip(0, 255).astype(np.uint8))


def alone(pixels: Pixels, mask: Mask) -> Pixels:
    """The lesion, its surroundings in their one mean colour; arguments as for `hidden`."""
    inside = _wide(mask)
    colour = pixels[~inside].mean(axis=0) if (~inside).any() else np.full(3, 128.0)
    return np.where(inside[..., None], pixels, colour.astype(np.uint8)).astype(np.uint8)


def _wide(mask: Mask) -> Mask:
    steps = max(1, round(_FRINGE * len(mask)))
    return np.asarray(binary_dilation(mask, iterations=steps))

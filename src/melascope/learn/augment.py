"""Random changes under which a diagnosis stays what it is.

A dermatoscope has no up: any rotation, both flips, some zoom, shift and stretch. Light and colour differ by
device: gain of each channel, contrast, gamma, saturation. What a turned image lacks at its edges is mirrored
in, because black corners would be a new shortcut.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melascope.images import Pixels


def augment(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Change one square image at random.

    Args:
        pixels: shape (S, S, 3).
        rng: source of all randomness, so that a seed gives the same images again.

    Returns:
        Pixels of the same shape.
    """
    return _recolour(_move(pixels, rng), rng)


def _move(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    size = pixels.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    zoom = np.exp(rng.uniform(np.log(0.75), np.log(1.3)))
    stretch = np.exp(rng.uniform(-0.1, 0.1))
    flip = rng.choice([-1.0, 1.0])
    shift = rng.uniform(-0.08, 0.08, 2) * size
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = rotation @ np.diag([flip * stretch, 1 / stretch]) / zoom  # from result to original
    border = size * 3 // 4  # more than the corners of a turned, shrunk and shifted image reach for
    padded = np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="symmetric")
    middle = size / 2
    offset = middle + border + shift - back @ np.array([middle, middle])
    moved = Image.fromarray(padded).transform(
        (size, size),
        Image.Transform.AFFINE,
        (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1]),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(moved)


def _recolour(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(rng.normal(0, 0.15))
    contrast = np.exp(rng.normal(0, 0.12))
    gain = np.exp(rng.normal(0, 0.08, 3) + rng.normal(0, 0.1))
    saturation = np.exp(rng.normal(0, 0.15))
    curve = ((levels**gamma - 0.5) * contrast + 0.5)[:, None] * gain  # (256, 3): one look-up a channel
    values: NDArray[np.float32] = np.stack([curve[pixels[..., c], c] for c in range(3)], axis=-1)
    grey = values.mean(axis=-1, keepdims=True)
    values = grey + (values - grey) * np.float32(saturation)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)

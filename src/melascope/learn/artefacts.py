"""Artefacts between a lesion and its picture, drawn at random, so that a network sees them beside any diagnosis.

On the skin: hair, the marks of a ruler and of a pen, air in the gel. In the camera: the rim of the lens, focus,
resolution, grain and compression.
"""

import numpy as np
from PIL import Image, ImageFilter

from melascope import images
from melascope.images import Pixels
from melascope.synthetic import camera

_CHANCE = 0.1  # of each artefact, at strength 1: a third of the images then have none


def on_skin(pixels: Pixels, rng: np.random.Generator, strength: float = 1.0) -> Pixels:
    """Lay hair, ruler, ink and gel bubbles on an image, each with a chance of 0.1.

    Args:
        pixels: shape (S, S, 3).
        rng: source of all randomness.
        strength: factor on the chance.

    Returns:
        Pixels of the same shape.
    """
    chance, image = _CHANCE * strength, Image.fromarray(pixels)
    if rng.random() < chance:
        image = camera.hair(image, _some(rng), rng)
    if rng.random() < chance:
        image = camera.ruler(image, rng)
    if rng.random() < chance:
        image = camera.ink(image, rng)
    if rng.random() < chance:
        image = camera.bubbles(image, _some(rng), rng)
    return np.asarray(image)


def _some(rng: np.random.Generator) -> int:
    return int(np.exp(rng.uniform(np.log(2), np.log(50))))


def in_camera(pixels: Pixels, rng: np.random.Generator, strength: float = 1.0) -> Pixels:
    """Give an image dark corners, fewer pixels, blur, noise and JPEG compression, each with a chance of 0.1.

    Args and returns as `on_skin`.
    """
    chance, size = _CHANCE * strength, pixels.shape[0]
    if rng.random() < chance:
        pixels = images.to_pixels(camera.dark_corners(pixels.astype(np.float32), (0.9, 1.3), rng))
    if rng.random() < chance:
        fewer = int(rng.uniform(0.4, 1) * size)
        small = Image.fromarray(pixels).resize((fewer, fewer), Image.Resampling.BILINEAR)
        pixels = np.asarray(small.resize((size, size)))
    if rng.random() < chance:
        focus = ImageFilter.GaussianBlur(rng.uniform(0, 1 / 160) * size)
        pixels = np.asarray(Image.fromarray(pixels).filter(focus))
    if rng.random() < chance:
        pixels = images.to_pixels(pixels + rng.normal(0, rng.uniform(0, 12), pixels.shape))
    if rng.random() < chance:
        pixels = images.compressed(pixels, int(rng.integers(25, 95)))
    return pixels

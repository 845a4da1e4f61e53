"""Random changes that leave the diagnosis as it is.

A dermatoscope has no up: images are turned, flipped, zoomed, shifted and stretched. Light and colour differ by device:
gain of each channel, contrast, gamma and saturation vary. Empty edges of a turned image are filled by reflection,
because black corners would be a new shortcut. Exposure varies so far that the skin around a lesion may burn out:
networks that rely on that skin do worse in other clinics. Artefacts of `melascope.learn.artefacts` lie on some images.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melascope.images import Pixels
from melascope.learn.artefacts import in_camera, on_skin


def augment(
    pixels: Pixels, rng: np.random.Generator, strength: float = 1.0, artefacts: bool = True
) -> Pixels:
    """Change one square image at random.

    Args:
        pixels: shape (S, S, 3).
        rng: source of all randomness; the same seed gives the same images.
        strength: factor on the range of every change but rotation and flips, and on the chance of artefacts, 0 to 2.
        artefacts: whether any are drawn.

    Returns:
        Pixels of the same shape.
    """
    if not artefacts:
        return np.asarray(_recolour(_move(pixels, rng, strength), rng, strength))
    moved = _move(on_skin(pixels, rng, strength), rng, strength)
    return in_camera(np.asarray(_recolour(moved, rng, strength)), rng, strength)


def _move(pixels: Pixels, rng: np.random.Generator, strength: float) -> Image.Image:
    size = pixels.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    zoom = np.exp(strength * rng.uniform(np.log(0.75), np.log(1.3)))
    stretch = np.exp(strength * rng.uniform(-0.1, 0.1))
    flip = rng.choice([-1.0, 1.0])
    shift = strength * rng.uniform(-0.08, 0.08, 2) * size
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return warp(pixels, rotation @ np.diag([flip * stretch, 1 / stretch]) / zoom, shift)


def warp(pixels: Pixels, back: NDArray[np.float64], shift: NDArray[np.float64]) -> Image.Image:
    """Turn, scale and shift a square image about its middle; empty edges are filled by reflection.

    Args:
        pixels: shape (S, S, 3).
        back: from the result to the image, shape (2, 2); it may reach one side beyond the image.
        shift: of the visible part, in pixels, shape (2,).
    """
    size = pixels.shape[0]
    middle = size / 2
    offset = size + middle + shift - back @ np.array([middle, middle])
    # In augmentation at strength 2, a corner lies up to 0.97 of a side beyond the edge.
    return _mirrored(Image.fromarray(pixels)).transform(
        (size, size),
        Image.Transform.AFFINE,
        (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1]),
        resample=Image.Resampling.BILINEAR,
    )


def _mirrored(image: Image.Image) -> Image.Image:
    """An image amid its reflections, three sides wide. Pasting is 15 times as fast as indexing."""
    size = image.width
    row, field = Image.new("RGB", (3 * size, size)), Image.new("RGB", (3 * size, 3 * size))
    sideways = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for place, part in enumerate((sideways, image, sideways)):
        row.paste(part, (place * size, 0))
    upside_down = row.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    for place, part in enumerate((upside_down, row, upside_down)):
        field.paste(part, (0, place * size))
    return field


def _recolour(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    levels = np.arange(256) / 255
    gamma = np.exp(strength * rng.normal(0, 0.15))
    contrast = np.exp(strength * rng.normal(0, 0.12))
    gain = np.exp(strength * (rng.normal(0, 0.08, 3) + rng.normal(0, 0.2)))
    saturation = np.exp(strength * rng.normal(0, 0.15))
    curves = ((levels**gamma - 0.5) * contrast + 0.5) * gain[:, None]  # one look-up a channel
    mixed = saturation * np.eye(3) + (1 - saturation) / 3  # with grey, the mean of the channels
    return image.point((np.clip(curves, 0, 1) * 255 + 0.5).astype(int).ravel().tolist()).convert(
        "RGB", np.hstack([mixed, np.zeros((3, 1))]).ravel().tolist()
    )

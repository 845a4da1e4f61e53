"""How a lesion is photographed: framing, light, and artefacts on the skin and in the lens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from melascope.images import Pixels, to_pixels

Field = NDArray[np.floating]
Points = NDArray[np.float64]

_OVERSAMPLING = 3  # lines are drawn larger and shrunk, or they would be jagged
_GREY_GRAIN, _COLOUR_GRAIN = 2.2, 1.2  # standard deviations of the sensor's noise, of 255


@dataclass(frozen=True)
class Style:
    """What differs between photographs of one lesion, or between clinics."""

    width: int = 256
    height: int = 192
    hair: int = 0
    """Number of hairs."""
    ruler: bool = False
    bubbles: int = 0
    dark_corners: bool = False
    ink: bool = False
    """Pen marks in the upper left corner."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gain of each channel."""
    turn: float = 0.0
    """Rotation of the camera in radians."""
    zoom: float = 1.0


def axes(style: Style) -> tuple[Field, Field]:
    """Coordinates x and y of each pixel in the lesion's frame, shape (height, width) each.

    At zoom 1, the shorter side runs from -1 to 1.
    """
    half = min(style.width, style.height) / 2
    y, x = np.mgrid[: style.height, : style.width].astype(np.float32)
    x, y = (x - (style.width - 1) / 2) / half, (y - (style.height - 1) / 2) / half
    c, s = np.cos(style.turn), np.sin(style.turn)
    return ((c * x - s * y) / style.zoom).astype(np.float32), ((s * x + c * y) / style.zoom).astype(
        np.float32
    )


def trace(
    courses: Sequence[tuple[Points, float]], style: Style, width: float, place: Callable[[Points], Points]
) -> Field:
    """Draw curves.

    Args:
        courses: of each curve its points, shape (n, 2), in any frame, and its width relative to `width`.
        style: of the photograph.
        width: in units of half the shorter side.
        place: maps the curves' frame to that of `axes`.

    Returns:
        The covered share of each pixel, 0 to 1, shape (height, width).
    """
    half = min(style.width, style.height) / 2
    layer = Image.new("L", (style.width * _OVERSAMPLING, style.height * _OVERSAMPLING))
    pen = ImageDraw.Draw(layer)
    c, s = np.cos(style.turn), np.sin(style.turn)
    for points, relative in courses:
        at = place(points) * style.zoom * half @ np.array([[c, -s], [s, c]]) + (
            style.width / 2,
            style.height / 2,
        )
        thick = max(1, round(width * relative * style.zoom * half * _OVERSAMPLING))
        pen.line([(float(a), float(b)) for a, b in at * _OVERSAMPLING], fill=255, width=thick, joint="curve")
    small = layer.resize((style.width, style.height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def photograph(picture: Field, style: Style, rng: np.random.Generator) -> Pixels:
    """Light the skin, add the artefacts of a style, and expose.

    Args:
        picture: light that the skin reflects, shape (height, width, 3), 0 to 255.
        style: of the photograph.
        rng: of the photograph.

    Returns:
        Shape (height, width, 3).
    """
    y, x = np.mgrid[-1 : 1 : style.height * 1j, -1 : 1 : style.width * 1j].astype(np.float32)
    way = rng.uniform(0, 2 * np.pi)
    light = (
        1
        + rng.uniform(0, 0.1) * (np.cos(way) * x + np.sin(way) * y)
        - rng.uniform(0.03, 0.2) * (x**2 + y**2) / 2
    )
    lit = picture * light[..., None] * np.array(style.tint, np.float32)
    image = Image.fromarray(to_pixels(lit))
    if style.ink:
        image = ink(image, rng)
    if style.hair:
        image = hair(image, style.hair, rng)
    if style.ruler:
        image = ruler(image, rng)
    if style.bubbles:
        image = bubbles(image, style.bubbles, rng)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7)))
    values = np.asarray(image, np.float32)
    if style.dark_corners:
        values = dark_corners(values, (1.0, 1.1), rng, jitter=4)
    shape = style.height, style.width
    grain = rng.normal(0, _GREY_GRAIN, (*shape, 1)) + rng.normal(0, _COLOUR_GRAIN, (*shape, 3))
    return to_pixels(values + grain)


def dark_corners(
    values: Field, edge: tuple[float, float], rng: np.random.Generator, jitter: float = 0
) -> Field:
    """Darken the corners, as the round rim of a lens does.

    Args:
        values: shape (height, width, 3), 0 to 255.
        edge: smallest and largest distance of the rim from the middle, in halves of the width.
        rng: of its place and softness.
        jitter: standard deviation of its place, in half pixels.

    Returns:
        Shape (height, width, 3).
    """
    height, width = values.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    far = np.hypot(x * width - rng.normal(0, jitter), y * height - rng.normal(0, jitter)) / width
    cover = 1 / (1 + np.exp(np.clip((far - rng.uniform(*edge)) / rng.uniform(0.008, 0.03), -30, 30)))
    return np.asarray(values * cover[..., None] + 6)


def _layer(image: Image.Image) -> tuple[Image.Image, ImageDraw.ImageDraw, float]:
    layer = Image.new("L", (image.width * _OVERSAMPLING, image.height * _OVERSAMPLING))
    return layer, ImageDraw.Draw(layer), min(layer.size) / 100


def _lay(image: Image.Image, layer: Image.Image, colour: tuple[int, int, int], opacity: float) -> Image.Image:
    cover = layer.resize(image.size, Image.Resampling.BOX).point(lambda value: value * opacity)
    return Image.composite(Image.new("RGB", image.size, colour), image, cover)


def hair(image: Image.Image, number: int, rng: np.random.Generator) -> Image.Image:
    """Draw hairs: long, slightly curved, in roughly one direction."""
    layer, pen, unit = _layer(image)
    growth = rng.uniform(0, 2 * np.pi)
    thin = rng.uniform(0.5, 0.9)
    for _ in range(number):
        place = rng.uniform(-0.1, 1.1, 2) * layer.size
        way, bend = growth + rng.normal(0, 0.5), rng.normal(0, 0.035)
        for i in range(steps := int(rng.integers(14, 40))):
            after = place + 3 * unit * np.array([np.cos(way), np.sin(way)])
            taper = 1 - 0.6 * i / steps
            pen.line([*place, *after], fill=255, width=max(1, round(unit * thin * taper)))
            place, way = after, way + bend
    dark = int(rng.integers(18, 75))
    shadow = ImageChops.offset(layer, _OVERSAMPLING, _OVERSAMPLING)
    image = _lay(image, shadow.filter(ImageFilter.GaussianBlur(_OVERSAMPLING)), (70, 40, 30), 0.35)
    return _lay(image, layer, (dark, int(dark * 0.62), int(dark * 0.5)), 0.9)


def ruler(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw the scale on the dermatoscope's glass along the lower edge."""
    layer, pen, unit = _layer(image)
    y, left = layer.height - rng.uniform(2, 6) * unit, rng.uniform(2, 20) * unit
    for i in range(31):
        long = 7 if i % 10 == 0 else 5.5 if i % 5 == 0 else 3.5
        x = left + 3.4 * i * unit
        pen.line([(x, y), (x, y - long * unit)], fill=255, width=round(unit * 0.6))
    pen.line([(left, y), (left + 102 * unit, y)], fill=255, width=round(unit * 0.6))
    return _lay(image, layer, (28, 26, 30), 0.85)


def bubbles(image: Image.Image, number: int, rng: np.random.Generator) -> Image.Image:
    """Draw air bubbles in the gel: a bright rim, a glint towards the lamp, a shadow on the other side."""
    rim, rim_pen, unit = _layer(image)
    glint, glint_pen, _ = _layer(image)
    shade, shade_pen, _ = _layer(image)
    for _ in range(number):
        x, y = rng.uniform(0, 1, 2) * rim.size
        r = rng.lognormal(0.7, 0.5) * unit
        box = (x - r, y - r, x + r, y + r)
        shade_pen.ellipse(
            (box[0] + r * 0.15, box[1] + r * 0.15, box[2] + r * 0.15, box[3] + r * 0.15), fill=90
        )
        rim_pen.ellipse(box, outline=150, fill=24, width=max(1, round(r * 0.14)))
        glint_pen.ellipse((x - r * 0.6, y - r * 0.65, x - r * 0.1, y - r * 0.15), fill=255)
    image = _lay(image, shade, (90, 60, 50), 0.5)
    return _lay(_lay(image, rim, (255, 250, 245), 0.8), glint, (255, 255, 255), 0.9)


def ink(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw strokes of a surgical pen across the upper left corner, uneven as on skin."""
    layer, pen, unit = _layer(image)
    for reach in (3, 10, 17, 25):
        jitter = rng.normal(0, 1.2 * unit, 4)
        start = (-4 * unit + jitter[0], reach * unit + jitter[1])
        end = (1.9 * reach * unit + jitter[2], -4 * unit + jitter[3])
        pen.line([start, end], fill=int(rng.integers(200, 255)), width=round(rng.uniform(4.5, 6.0) * unit))
    uneven = Image.fromarray(rng.integers(110, 256, (image.height // 3, image.width // 3)).astype(np.uint8))
    layer = ImageChops.multiply(layer, uneven.resize(layer.size, Image.Resampling.BICUBIC))
    return _lay(image, layer.filter(ImageFilter.GaussianBlur(unit * 0.5)), (64, 40, 132), 0.85)

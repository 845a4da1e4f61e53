"""Drawn pictures that show no lesion under dermoscopy, which a gate must learn to refuse.

Shapes and clouds stand for photographs of anything: networks learn nearly as much from them as from photographs
(Baradad et al. 2021, "Learning to See by Looking at Noise").
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from melascope.images import Pixels, to_pixels
from melascope.synthetic.camera import Style
from melascope.synthetic.drawing import bare

_TEXT = """
seen in clinic today with a pigmented lesion on the left upper arm measuring seven millimetres, no itching or
bleeding, history of sunburn in childhood, advised to return in three months; total 248.00 page 1 of 2
"""
_WORDS = _TEXT.split()


def clutter(kind: str, seed: int, size: int = 256) -> Pixels:
    """Draw a picture.

    Args:
        kind: one of `KINDS`.
        seed: the same seed gives the same picture.
        size: of both sides, in pixels.

    Returns:
        Shape (size, size, 3).
    """
    return _KINDS[kind](np.random.default_rng([seed, list(_KINDS).index(kind)]), size)


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    r, g, b = rng.integers(low, high, 3)
    return int(r), int(g), int(b)


def _lines(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    points = int(rng.integers(8, 22))
    font, ink = ImageFont.load_default(points), _colour(rng, 0, 110)
    y = float(top)
    while y < bottom:
        words = rng.choice(_WORDS, int(rng.integers(1, max(2, (right - left) // (3 * points)) + 1)))
        pen.text((left, y), " ".join(words), fill=ink, font=font)
        y += points * rng.uniform(1.1, 2.2)


def _document(rng: np.random.Generator, size: int) -> Pixels:
    page = Image.new("RGB", (size, size), _colour(rng, 215, 256))
    pen = ImageDraw.Draw(page)
    margin = int(rng.integers(2, size // 6))
    _lines(pen, (margin, margin, size - margin, size - margin), rng)
    for _ in range(int(rng.integers(0, 4))):  # a rule, a table's frame
        x, y = sorted(rng.integers(0, size, 2)), sorted(rng.integers(0, size, 2))
        pen.rectangle((int(x[0]), int(y[0]), int(x[1]), int(y[1])), outline=_colour(rng, 0, 160))
    return np.asarray(page.rotate(rng.normal(0, 3), Image.Resampling.BILINEAR, fillcolor=_colour(rng)))


def _screen(rng: np.random.Generator, size: int) -> Pixels:
    dark = rng.random() < 0.3
    screen = Image.new("RGB", (size, size), _colour(rng, 10, 50) if dark else _colour(rng, 225, 256))
    pen = ImageDraw.Draw(screen)
    pen.rectangle((0, 0, size, int(size * rng.uniform(0.05, 0.15))), fill=_colour(rng))
    for _ in range(int(rng.integers(3, 14))):
        left, top = (int(v) for v in rng.integers(0, size - 20, 2))
        right, bottom = left + int(rng.integers(15, size // 2)), top + int(rng.integers(8, size // 3))
        pen.rounded_rectangle((left, top, right, bottom), int(rng.integers(0, 8)), fill=_colour(rng))
        if rng.random() < 0.7:
            _lines(pen, (left + 3, top + 2, right, bottom - 8), rng)
    return np.asarray(screen)


def _shapes(rng: np.random.Generator, size: int) -> Pixels:
    """Overlapping shapes of all sizes, lit unevenly."""
    large = 2 * size
    picture = Image.new("RGB", (large, large), _colour(rng))
    pen = ImageDraw.Draw(picture)
    palette = rng.integers(0, 256, (int(rng.integers(3, 12)), 3))
    for _ in range(int(rng.integers(20, 400))):
        reach = min(0.6 * large, large / 80 / (rng.random() ** 0.7 + 0.02))
        middle = rng.uniform(0, large, 2)
        r, g, b = np.clip(palette[rng.integers(len(palette))] + rng.normal(0, 20, 3), 0, 255).astype(int)
        fill = int(r), int(g), int(b)
        match int(rng.integers(3)):
            case 0:
                half = np.array([reach, reach * rng.uniform(0.3, 1)])
                pen.ellipse([*(middle - half).tolist(), *(middle + half).tolist()], fill=fill)
            case 1:
                corners = middle + rng.normal(0, reach, (int(rng.integers(3, 6)), 2))
                pen.polygon([(float(x), float(y)) for x, y in corners], fill=fill)
            case _:
                end = middle + rng.normal(0, large / 4, 2)
                pen.line([*middle.tolist(), *end.tolist()], fill=fill, width=int(rng.integers(1, 8)))
    pixels = np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float64)
    if rng.random() < 0.6:
        pixels = pixels * (0.5 + 0.8 * _clouds(rng, size)[..., :1] / 255)
    return to_pixels(pixels)


def _clouds(rng: np.random.Generator, size: int) -> Pixels:
    """Noise of all scales in three related channels, as in sky, water, stone or cloth."""
    frequency = np.fft.fftfreq(size)
    distance = np.hypot(frequency[:, None], frequency[None])
    distance[0, 0] = 1
    shared, own, fall = rng.normal(size=(size, size)), rng.uniform(0, 0.6), rng.uniform(0.7, 2.0)
    channels = []
    for _ in range(3):
        spectrum = np.fft.fft2(shared + own * rng.normal(size=(size, size))) / distance**fall
        field = np.fft.ifft2(spectrum).real
        channels.append((field - field.mean()) / field.std() * rng.uniform(15, 60) + rng.uniform(40, 220))
    return to_pixels(np.stack(channels, axis=-1))


def _blank(rng: np.random.Generator, size: int) -> Pixels:
    pixels = np.array(_colour(rng)) + rng.normal(0, rng.uniform(0, 14), (size, size, int(rng.choice([1, 3]))))
    pixels = pixels + np.linspace(-1, 1, size)[:, None, None] * rng.uniform(0, 60)
    image = Image.fromarray(to_pixels(np.broadcast_to(pixels, (size, size, 3))))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(float(rng.choice([0, 0.8, 2])))))


def _skin(rng: np.random.Generator, size: int) -> Pixels:
    hairy = int(rng.integers(0, 60)) if rng.random() < 0.5 else 0
    style = Style(size, size, hair=hairy, tint=tuple(rng.uniform(0.85, 1.1, 3)), zoom=rng.uniform(0.4, 2))
    return bare(int(rng.integers(2**31)), style)


_KINDS: dict[str, Callable[[np.random.Generator, int], Pixels]] = {
    "documents": _document,
    "screens": _screen,
    "shapes": _shapes,
    "clouds": _clouds,
    "blank": _blank,
    "bare skin": _skin,
}
KINDS = tuple(_KINDS)

"""Pictures for a person: an image, its heat map, and the answer in words."""

import textwrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from melascope.errors import printable
from melascope.explain.cam import heat_map
from melascope.images import Pixels, square
from melascope.infer.answer import Answer
from melascope.labels import NOTICE, TARGETS

_LONGER_SIDE = 420  # of each of the two pictures, in pixels
_NOTE = (
    "The heat map shows where the network responded, relative to the strongest place of the image. It is not evidence. "
    f"{NOTICE}"
)
_PAPER, _INK, _MUTED = (255, 255, 255), (23, 33, 43), (86, 100, 114)
_MARGIN, _GAP = 16, 8
_WIDTH = 2 * _LONGER_SIDE + _GAP
# Stops of the map `inferno` (Smith and van der Walt 2015), whose lightness rises evenly, so that it reads
# without colour vision and in grey.
_STOPS = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ],
    dtype=np.float32,
)
_MAX_OPACITY = 0.65  # the skin stays visible under the hottest place


def colours(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The colour of each heat.

    Args:
        heat: shape (...), 0 to 1.

    Returns:
        Shape (..., 3), 0 to 255; the hotter, the lighter.
    """
    place = heat * (len(_STOPS) - 1)
    low = np.minimum(place.astype(int), len(_STOPS) - 2)
    share = (place - low)[..., None]
    mixed: NDArray[np.float32] = _STOPS[low] * (1 - share) + _STOPS[low + 1] * share
    return mixed


def blend(pixels: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """Lay a heat map over an image: the hotter, the more opaque.

    Args:
        pixels: shape (height, width, 3).
        heat: shape (height, width), 0 to 1.

    Returns:
        Shape (height, width, 3).
    """
    opacity = (_MAX_OPACITY * heat)[..., None]
    blended: Pixels = (pixels * (1 - opacity) + colours(heat) * opacity + 0.5).astype(np.uint8)
    return blended


def layer(cam: NDArray[np.float32], side: int) -> Image.Image:
    """A heat map by itself: laid over the central square of an image, it gives what `blend` gives.

    Args:
        cam: raw class activation map of one target, shape (h, w).
        side: of the picture, in pixels.

    Returns:
        A picture of mode RGBA.
    """
    heat = heat_map(cam, side)[..., None]
    values = np.concatenate([colours(heat[..., 0]), 255 * _MAX_OPACITY * heat], axis=2)
    return Image.fromarray((values + 0.5).astype(np.uint8), "RGBA")


def pair(pixels: Pixels, cam: NDArray[np.float32], side: int) -> tuple[Image.Image, Image.Image]:
    """The central square that the network saw, without and with the heat map.

    Args:
        pixels: the whole image, shape (height, width, 3).
        cam: raw class activation map of one target, shape (h, w).
        side: of each picture, in pixels.
    """
    cropped = square(pixels, side)
    return Image.fromarray(cropped), Image.fromarray(blend(cropped, heat_map(cam, side)))


def whole(pixels: Pixels, cam: NDArray[np.float32]) -> tuple[Image.Image, Image.Image]:
    """The whole image, and the same with the heat map in its central square, the rest faded.

    Args:
        pixels: the whole image, shape (height, width, 3).
        cam: raw class activation map of one target, shape (h, w).

    Returns:
        Two pictures whose longer side is 420 pixels.
    """
    original = Image.fromarray(pixels)
    scale = _LONGER_SIDE / max(original.size)
    width, height = (max(1, round(scale * length)) for length in original.size)
    original = original.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    seen = np.asarray(original.crop(box))
    overlay = Image.blend(original, Image.new("RGB", original.size, _PAPER), 0.5)
    overlay.paste(Image.fromarray(blend(seen, heat_map(cam, side))), box)
    if width != height:
        ImageDraw.Draw(overlay).rectangle((left, top, left + side - 1, top + side - 1), outline=_MUTED)
    return original, overlay


def panel(pixels: Pixels, answer: Answer, target: str) -> Image.Image:
    """Original and overlay with the answer in words under them, as `melascope explain` writes it.

    Args:
        pixels: the whole image.
        answer: of the predictor, with its heat; not one of status `error`.
        target: whose heat map to show, one of `melascope.labels.TARGETS`.
    """
    if answer.heat is None:
        raise ValueError("an answer without heat has no panel")
    cam = answer.heat[TARGETS.index(target)]
    original, overlay = whole(pixels, cam)
    rows = [
        (row, size, colour)
        for text, size, colour in _words(answer, target, bool((cam > 0).any()))
        for row in textwrap.wrap(text, width=int(_WIDTH / (size * 0.52)))
    ]
    top = _MARGIN + original.height + _GAP
    height = top + 2 * _GAP + sum(_line(size) for _, size, _ in rows) + _MARGIN
    page = Image.new("RGB", (_WIDTH + 2 * _MARGIN, height), _PAPER)
    left = _MARGIN + (_LONGER_SIDE - original.width) // 2
    page.paste(original, (left, _MARGIN))
    page.paste(overlay, (left + _LONGER_SIDE + _GAP, _MARGIN))
    draw = ImageDraw.Draw(page)
    _scale(page, draw, top)
    for row, size, colour in rows:
        draw.text((_MARGIN, top), row, fill=colour, font=ImageFont.load_default(size))
        top += _line(size)
    return page


def _words(answer: Answer, target: str, responds: bool) -> list[tuple[str, int, tuple[int, int, int]]]:
    """Lines with their size and colour."""
    head = answer.label or answer.status
    if answer.weak:
        head += " (weak: too close to call)"
    known = ((name, getattr(answer, name)) for name in TARGETS)
    facts = ", ".join(f"{name} {value:.3f}" for name, value in known if value is not None)
    facts = f"probability of {facts}; called malignant from {answer.threshold:.3f} on; heat map for {target}"
    lines = [(head, 20, _INK), (facts, 15, _INK)]
    if answer.reason:
        lines.append((answer.reason, 15, _INK))
    if not responds:
        lines.append((f"No place in the image responds to {target}, so the heat map is empty.", 15, _INK))
    name = printable(answer.path.rpartition("/")[2])
    return [*lines, (f"{name}   {answer.model}".strip(), 12, _MUTED), (_NOTE, 12, _MUTED)]


def _scale(page: Image.Image, draw: ImageDraw.ImageDraw, top: int) -> None:
    """The legend of the colours, at the right margin."""
    width, height, font = 120, 10, ImageFont.load_default(12)
    heat = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))
    skin = np.full((height, width, 3), (214, 178, 160), dtype=np.uint8)  # what the colours usually lie on
    strongest = draw.textlength("strongest", font)
    right = _MARGIN + _WIDTH
    left = int(right - strongest - _GAP - width)
    page.paste(Image.fromarray(blend(skin, heat)), (left, top + 6))
    draw.text((right - strongest, top + 3), "strongest", fill=_MUTED, font=font)
    none = "response: none"
    draw.text((left - _GAP - draw.textlength(none, font), top + 3), none, fill=_MUTED, font=font)


def _line(size: int) -> int:
    return int(size * 1.45)

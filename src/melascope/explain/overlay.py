"""An image beside its heat map, with the answer in words: pictures for a person."""

import textwrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from melascope.explain.cam import heat_map
from melascope.images import Pixels, fit
from melascope.infer.answer import Answer
from melascope.labels import TARGETS

SIDE = 320  # pixels of each of the two pictures
_NOTE = (
    "The heat map shows where the network responded; it is not evidence. "
    "A research tool: it supports a clinician and never replaces one."
)
_PAPER, _INK, _MUTED = (255, 255, 255), (23, 33, 43), (86, 100, 114)
_MARGIN = 16
# Stops of a map whose lightness rises evenly, so that it reads without colour vision and in grey.
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
_MOST_OPAQUE = 0.65  # the skin stays visible under the hottest place


def blend(pixels: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """Lay a heat map over a square image: the hotter, the more opaque.

    Args:
        pixels: shape (S, S, 3).
        heat: shape (S, S), 0 to 1.

    Returns:
        Shape (S, S, 3).
    """
    place = heat * (len(_STOPS) - 1)
    low = np.minimum(place.astype(int), len(_STOPS) - 2)
    share = (place - low)[..., None]
    colour = _STOPS[low] * (1 - share) + _STOPS[low + 1] * share
    opacity = (_MOST_OPAQUE * heat)[..., None]
    blended: Pixels = (pixels * (1 - opacity) + colour * opacity + 0.5).astype(np.uint8)
    return blended


def pair(pixels: Pixels, cam: NDArray[np.float32], side: int = SIDE) -> Image.Image:
    """What the network saw, its central square, beside the same with the heat map.

    Args:
        pixels: the whole image, shape (height, width, 3).
        cam: raw class activation map of one target, shape (h, w).
        side: of each picture, in pixels.

    Returns:
        An image of about 2 * side by side pixels.
    """
    square = fit(pixels, side)
    both = Image.new("RGB", (2 * side + _MARGIN // 2, side), _PAPER)
    both.paste(Image.fromarray(square), (0, 0))
    both.paste(Image.fromarray(blend(square, heat_map(cam, side))), (side + _MARGIN // 2, 0))
    return both


def panel(pixels: Pixels, answer: Answer, target: str) -> Image.Image:
    """The pair with the answer in words under it, as `melascope explain` writes it.

    Args:
        pixels: the whole image.
        answer: of the predictor, with its heat; not one of status `error`.
        target: whose heat map to show, one of `melascope.labels.TARGETS`.
    """
    if answer.heat is None:
        raise ValueError("an answer without heat has no panel")
    pictures = pair(pixels, answer.heat[TARGETS.index(target)])
    probability = getattr(answer, target)
    head = answer.label if answer.label else "not judged"
    if answer.weak:
        head += " (weak: too close to call)"
    facts = (
        f"probability of {target} {probability:.3f}" if probability is not None else f"{target} not learned"
    )
    if target == "malignant":
        facts += f", threshold {answer.threshold:.3f}"
    lines = [(head, 20, _INK), (facts, 15, _INK)]
    if answer.reason:
        lines.append((answer.reason, 15, _INK))
    lines += [(f"{answer.path.rpartition('/')[2]}   {answer.model}", 12, _MUTED), (_NOTE, 12, _MUTED)]
    rows = [
        (row, size, colour)
        for text, size, colour in lines
        for row in textwrap.wrap(text, width=int(pictures.width / (size * 0.52)))
    ]
    height = pictures.height + 2 * _MARGIN + sum(int(size * 1.45) for _, size, _ in rows) + _MARGIN // 2
    page = Image.new("RGB", (pictures.width + 2 * _MARGIN, height), _PAPER)
    page.paste(pictures, (_MARGIN, _MARGIN))
    draw = ImageDraw.Draw(page)
    y = pictures.height + _MARGIN + _MARGIN // 2
    for row, size, colour in rows:
        draw.text((_MARGIN, y), row, fill=colour, font=ImageFont.load_default(size))
        y += int(size * 1.45)
    return page

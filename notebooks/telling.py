"""How the notebooks tell: sentences and tables with measured figures in them, and drawings."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image as Pictures

from melascope import intervals
from melascope.evaluate.figure import Measured
from melascope.evaluate.metrics import Ranked, Sample
from melascope.report.figures import BLUE, MUTED, png, style

RESEARCH = "*A research tool: it supports a clinician and never replaces one.*"
_SHARPER = 1.5  # pixels of a drawing for each pixel of the page
_INCH = 72  # pixels of the page
_GAP = 16  # pixels between drawings


def say(*paragraphs: str) -> None:
    """Show Markdown."""
    display(Markdown("\n\n".join(textwrap.dedent(paragraph).strip() for paragraph in paragraphs)))


def show(*drawings: Figure | Path | Pictures.Image) -> None:
    """Show drawings side by side, as one PNG: figures, PNG files that the package drew, or pictures."""
    pictures = []
    for drawing in drawings:
        if isinstance(drawing, Pictures.Image):
            pictures.append(drawing.convert("RGB"))
            continue
        drawn = Pictures.open(drawing if isinstance(drawing, Path) else io.BytesIO(png(drawing))).convert(
            "RGB"
        )
        scale = _SHARPER * _INCH / 200  # the package draws 200 dots an inch
        size = round(scale * drawn.width), round(scale * drawn.height)
        pictures.append(drawn.resize(size, Pictures.Resampling.LANCZOS))
    gaps = _GAP * (len(pictures) - 1)
    size = sum(p.width for p in pictures) + gaps, max(p.height for p in pictures)
    page = Pictures.new("RGB", size, "white")
    left = 0
    for picture in pictures:
        page.paste(picture, (left, 0))
        left += picture.width + _GAP
    held = io.BytesIO()
    page.save(held, "PNG", optimize=True)
    display(Image(held.getvalue(), width=round(page.width / _SHARPER)))


def table(rows: Sequence[dict[str, object]]) -> None:
    """Show a table, a dictionary a row."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    say("\n".join(lines))


def percent(figure: dict[str, Any], digits: int = 0) -> str:
    """A share with its interval: `23 % (21 to 25)`."""
    return format(intervals.Figure.of(figure), f".{digits}%")


def interval(figure: dict[str, Any], digits: int = 3) -> str:
    """A figure with its interval: `0.923 (0.911 to 0.934)`."""
    return format(intervals.Figure.of(figure), f".{digits}f")


def roc_auc(truth: ArrayLike, score: ArrayLike, group: ArrayLike) -> dict[str, Any]:
    """How well a score tells what is true from what is not, with its interval: 0.5 is not at all."""
    if not np.size(truth):
        return {"value": None, "low": None, "high": None, "n": 0, "reason": "no such image"}
    sample = Sample.of(truth, score, group)
    measured = Measured(sample, "malignant", lambda w: {"roc_auc": Ranked.of(sample, w).roc_auc()})
    return measured.figure("roc_auc").document()


def verdict(figure: dict[str, Any], more: str, less: str, neither: str, than: float = 0.0) -> str:
    """Which of three things to say of a figure, by where its interval lies: above `than`, below, or across it."""
    if figure["low"] is None:
        return neither
    return more if figure["low"] > than else less if figure["high"] < than else neither


def dots(
    rows: Sequence[tuple[str, dict[str, Any]]], label: str, chance: float | None = None, width: float = 6.6
) -> Figure:
    """Figures with their intervals, one below the other.

    Args:
        rows: words and figure of each; a figure that is not defined leaves its row empty.
        label: of the axis.
        chance: where a line says what knowing nothing would reach.
        width: in inches.
    """
    with style():
        figure = Figure(figsize=(width, 0.75 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for y, (_, found) in enumerate(rows):
            if found["value"] is None:
                continue
            if found["low"] is not None:
                axes.hlines(y, found["low"], found["high"], color=BLUE, linewidth=2)
            axes.plot(found["value"], y, "o", color=BLUE)
            axes.annotate(
                f"{found['value']:.2f}",
                (found["value"], y),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        if chance is not None:
            axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(rows)), [words for words, _ in rows])
        axes.set(ylim=(len(rows) - 0.5, -0.7), xlabel=label)
        axes.grid(axis="y", visible=False)
    return figure

"""`doubt.html`: measures of doubt side by side, and what the model's prediction sets hold."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from melascope import files
from melascope.report.figures import BLUE, FOLDER, INK, MUTED, ORANGE, canvas, in_percent, save, style, svg
from melascope.report.html import render

PAGE = "doubt.html"
_LINES = ((MUTED, "--"), (ORANGE, "--"), (BLUE, "-"), (INK, ":"))


def write(doubt: dict[str, Any], out: Path) -> Path:
    """Draw `figures/risk_coverage.png` and write the page.

    Args:
        doubt: what `doubt.json` holds.
        out: the report folder.

    Returns:
        The path of the page.
    """
    files.write_text(out / PAGE, render("doubt.html", doubt=draw_doubt(doubt, out)))
    return out / PAGE


def draw_doubt(doubt: dict[str, Any], out: Path) -> dict[str, Any]:
    """Draw the figure into the report folder; with it, the result is what `templates/parts/doubt.html` needs."""
    with style():
        drawing = _risk_coverage(doubt["methods"])
    save(drawing, out / FOLDER / "risk_coverage.png")
    label = "Share of wrong answers among the images kept, by share of images referred"
    return {**doubt, "drawings": {"risk_coverage": svg(drawing, label)}}


def _risk_coverage(methods: list[dict[str, Any]]) -> Figure:
    figure, axes = canvas(8.4, 4.2)
    best = min(methods, key=lambda row: row["area"]["value"])
    for row, (colour, line) in zip(methods, _LINES, strict=True):
        curve = row["curve"]
        if row is best:
            axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve["x"], curve["y"], color=colour, linestyle=line, label=row["name"])
    top = max(max(row["curve"]["y"]) for row in methods)
    axes.set(
        xlim=(0, 0.95),
        ylim=(0, 1.45 * top),  # room for the legend
        xlabel="images referred, the most doubtful first",
        ylabel="wrong among the images kept",
    )
    for axis in (axes.xaxis, axes.yaxis):
        in_percent(axis)
    axes.legend(loc="upper right")
    return figure

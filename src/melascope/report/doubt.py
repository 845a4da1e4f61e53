"""`doubt.html`: measures of doubt side by side, and what the model's prediction sets hold."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from melascope import files
from melascope.report.figures import BLUE, INK, MUTED, ORANGE, canvas, save, style, svg
from melascope.report.html import render
from melascope.report.page import FIGURES

PAGE = "doubt.html"
_LINES = ((MUTED, "--"), (ORANGE, "--"), (BLUE, "-"), (INK, ":"))


def write(found: dict[str, Any], out: Path) -> Path:
    """Draw `figures/risk_coverage.png` and write the page.

    Args:
        found: what `doubt.json` holds.
        out: the report folder.

    Returns:
        The path of the page.
    """
    with style():
        drawing = _risk_coverage(found["methods"])
    save(drawing, out / FIGURES / "risk_coverage.png")
    page = render(
        "doubt.html",
        found=found,
        best=min(found["methods"], key=lambda row: row["area"]["value"]),
        drawing=svg(drawing, "Share of wrong answers among those kept, by share of images referred"),
    )
    files.write_text(out / PAGE, page)
    return out / PAGE


def _risk_coverage(methods: list[dict[str, Any]]) -> Figure:
    figure, axes = canvas(6.4, 3.9)
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
        xlabel="images handed back, the most doubtful first",
        ylabel="wrong among the rest",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(loc="upper right")
    return figure

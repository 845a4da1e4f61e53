"""`stress.html`: what changes of an image do to its answer, as a plot, a table and the worst examples."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from melascope import files
from melascope.evaluate.stress import Example
from melascope.report.figures import BLUE, FOLDER, MUTED, ORANGE, in_percent, save, style, svg
from melascope.report.html import picture, render

PAGE = "stress.html"
_SIDE = 200


def write(stress: dict[str, Any], examples: list[Example], out: Path) -> Path:
    """Draw `figures/stress.png` and write the page.

    Args:
        stress: what `stress.json` holds.
        examples: from `melascope.evaluate.stress.measure`.
        out: the report folder.

    Returns:
        The path of the page.
    """
    shown = draw_stress(stress, out)
    galleries = []
    for row in shown["worst"]:
        pairs = [_pair(example) for example in examples if example.change == row["change"]]
        if pairs:
            galleries.append({"row": row, "figures": pairs})
    files.write_text(out / PAGE, render("stress.html", stress=shown, galleries=galleries))
    return out / PAGE


def draw_stress(stress: dict[str, Any], out: Path) -> dict[str, Any]:
    """Draw the figure into the report folder; with it, the result is what `templates/parts/stress.html` needs."""
    rows = stress["changes"]
    with style():
        drawing = _forest(rows)
    save(drawing, out / FOLDER / "stress.png")
    strongest = {row["change"]: row for row in rows}  # the last level of each
    return {
        **stress,
        "worst": sorted(strongest.values(), key=lambda row: -row["flipped"]["value"]),
        "drawings": {"stress": svg(drawing, "Labels that change and change of ROC-AUC, by change and level")},
    }


def _pair(example: Example) -> dict[str, Any]:
    pictures = (Image.fromarray(p).resize((_SIDE, _SIDE)) for p in (example.pixels, example.changed))
    return {"example": example, "pictures": [picture(image) for image in pictures]}


def _forest(rows: list[dict[str, Any]]) -> Figure:
    """A line for each level: a point and its interval, in two panels."""
    figure = Figure(figsize=(7.4, 0.225 * len(rows) + 1), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    names = [row["change"] for row in rows]
    for axes, key, colour in zip(panels, ("flipped", "roc_auc_change"), (BLUE, ORANGE), strict=True):
        for y, row in enumerate(rows):
            cell = row[key]
            if cell["value"] is None:
                continue
            if cell["low"] is not None:
                axes.hlines(y, cell["low"], cell["high"], color=colour, linewidth=1.6)
            axes.plot(cell["value"], y, "o", color=colour, markersize=4)
        for y in range(1, len(rows)):
            if names[y] != names[y - 1]:
                axes.axhline(y - 0.5, color=MUTED, linewidth=0.4, alpha=0.5)
        axes.grid(axis="y", visible=False)
        axes.axvline(0, color=MUTED, linewidth=1)
    panels[0].set_yticks(
        range(len(rows)), [f"{row['change']}: {row['description']}" for row in rows], fontsize=8
    )
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    in_percent(panels[0].xaxis)
    panels[0].set_title("Labels that change")
    panels[1].set_title("Change of ROC-AUC")
    return figure

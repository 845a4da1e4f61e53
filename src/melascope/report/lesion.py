"""`lesion.html`: whether answers come from the lesion, and whether heat maps show it."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import binary_erosion

from melascope import files
from melascope.evaluate.lesion import PARTS, SIDE
from melascope.explain.overlay import pair
from melascope.report.figures import BLUE, FOLDER, INK, MUTED, ORANGE, in_percent, save, style, svg
from melascope.report.html import picture, render

PAGE = "lesion.html"


def write(lesion: dict[str, Any], examples: list[dict[str, Any]], out: Path) -> Path:
    """Draw `figures/lesion_*.png` and write the page.

    Args:
        lesion: what `lesion.json` holds.
        examples: from `melascope.evaluate.lesion.measure`.
        out: the report folder.

    Returns:
        The path of the page.
    """
    shown = [_pictures(example) for example in examples]
    files.write_text(out / PAGE, render("lesion.html", lesion=draw_lesion(lesion, out), examples=shown))
    return out / PAGE


def draw_lesion(lesion: dict[str, Any], out: Path) -> dict[str, Any]:
    """Draw the figures into the report folder; with them, the result is what `templates/parts/lesion.html` needs."""
    with style():
        drawn = {
            "parts": (
                "ROC-AUC on whole images, without the lesion, and on the lesion alone",
                _parts(lesion["parts"]),
            ),
            "faithful": ("Deleting and inserting by heat and by chance", _faithful(lesion["faithful"])),
        }
    drawings = {}
    for name, (title, figure) in drawn.items():
        save(figure, out / FOLDER / f"lesion_{name}.png")
        drawings[name] = svg(figure, title)
    return {**lesion, "drawings": drawings, "words": PARTS}


def _pictures(example: dict[str, Any]) -> dict[str, Any]:
    mask = example["mask"]
    outlined = example["whole"].copy()
    outlined[mask & ~binary_erosion(mask, iterations=2)] = (255, 255, 255)
    _, overlay = pair(example["whole"], example["cam"], SIDE)
    shown = (outlined, overlay, *(example[part] for part in list(PARTS)[1:]))
    heated = bool((example["cam"] > 0).any())
    return {**example, "heated": heated, "pictures": [picture(image) for image in shown]}


def _parts(by_target: dict[str, Any]) -> Figure:
    measured = {target: parts for target, parts in by_target.items() if not parts["reason"]}
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    axes = figure.add_subplot()
    for k, (target, parts) in enumerate(measured.items()):
        colour = (BLUE, ORANGE)[k]
        for y, name in enumerate(PARTS):
            at, row = y + (k - (len(measured) - 1) / 2) * 0.24, parts[name]
            if row["low"] is not None:
                axes.hlines(at, row["low"], row["high"], color=colour, linewidth=1.8)
            axes.plot(row["value"], at, "o", color=colour, label=target if y == 0 else None)
    axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(PARTS)), list(PARTS.values()))
    axes.set(ylim=(len(PARTS) - 0.5, -0.5), xlabel="ROC-AUC")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", fontsize=9, ncols=len(measured))
    return figure


def _faithful(faithful: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.1})
    for axes, name in zip(panels, ("deletion", "insertion"), strict=True):
        for by, colour, line in (("heat", BLUE, "-"), ("chance", INK, ":")):
            axes.plot(
                faithful["x"],
                faithful["curves"][f"{name}_by_{by}"],
                color=colour,
                linestyle=line,
                label=f"by {by}",
            )
        axes.set_title(name.capitalize())
        axes.set_xticks(np.linspace(0, 1, 3))
        in_percent(axes.xaxis)
    panels[0].set_ylabel("probability of malignant")
    panels[0].set_xlabel("image blurred")
    panels[1].set_xlabel("image shown")
    panels[1].legend(fontsize=9)
    return figure

"""Drawings of a report: one style, as SVG that follows the page's colours and as PNG for a paper.

Others draw in the same style: `with style(): figure, axes = canvas()`, then `svg(figure)` or `png(figure)`.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from melascope import files
from melascope.labels import WORDS
from melascope.report import filters

INK, MUTED, GRID, PAPER = "#17212b", "#566472", "#e6eaee", "#ffffff"
BLUE, ORANGE = "#1f5fa8", "#b8500f"
# Colours of a drawing, and the variables of templates/base.html that take their place in a page.
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", BLUE: "blue", ORANGE: "orange"}
FOLDER = "figures"  # in a report folder
_MIN_IN_BIN = 10  # images; the observed share of a smaller bin is not drawn
_STYLE: Any = {
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be searched
    "svg.hashsalt": "melascope",  # the same drawing, the same bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in Melascope's style inside the block."""
    with mpl.rc_context(_STYLE):
        yield


def in_percent(axis: Axis) -> None:
    """Write the numbers of an axis as `20 %`."""
    axis.set_major_formatter(PercentFormatter(1, 0, symbol="\u00a0%"))


def canvas(width: float = 4.5, height: float = 4.1) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one pair of axes. It belongs to no window: any thread may draw."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def svg(figure: Figure, label: str) -> Markup:
    """A drawing as SVG to stand in a page; `label` describes it to people who cannot see it."""
    with style():
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # several drawings share a page, and ids must be unique
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    return Markup(text.replace("<svg", Markup('<svg role="img" aria-label="{}"').format(label), 1))  # noqa: S704


def png(figure: Figure) -> bytes:
    """A drawing as PNG, 200 dots an inch."""
    with style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a drawing as PNG, as a whole or not at all."""
    with files.replacing(path) as beside:
        beside.write_bytes(png(figure))


def of_target(target: str, result: dict[str, Any]) -> dict[str, Figure]:
    """The drawings of one target of `metrics.json`, by name; those that are not defined are absent."""
    with style():
        made = {}
        if result["curves"]["roc"]:
            made["roc"] = _roc(target, result)
            made["precision_recall"] = _precision_recall(target, result)
            made["decision"] = _decision(target, result)
        made["calibration"] = _calibration(target, result)
        made["confusion"] = _confusion(target, result)
        return made


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.linspace(0, 1, 6))
        in_percent(axis)


def _curve(axes: Axes, curve: dict[str, list[float]], label: str | None = None) -> None:
    axes.fill_between(curve["x"], curve["low"], curve["high"], color=BLUE, alpha=0.16, linewidth=0)
    axes.plot(curve["x"], curve["y"], color=BLUE, label=label)


def _thresholds(axes: Axes, result: dict[str, Any], x: str, y: str) -> None:
    """Mark both thresholds on a curve."""
    for where, marker in (("at_threshold", "o"), ("at_half", "s")):
        at = result[where]
        across, up = at[x]["value"], at[y]["value"]
        if across is not None and up is not None:
            across = 1 - across if x == "specificity" else across
            name = _named(at["threshold"], where)
            axes.plot(across, up, marker, color=ORANGE, markersize=7, clip_on=False, zorder=5, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _roc(target: str, result: dict[str, Any]) -> Figure:
    no, yes = WORDS[target]
    figure, axes = canvas()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    curve = result["curves"]["roc"]
    _curve(axes, {name: [0, *values] for name, values in curve.items()})
    _thresholds(axes, result, "specificity", "sensitivity")
    axes.set_title(f"ROC-AUC {filters.figure(result['roc_auc'])}")
    _square(axes, f"called {yes} though {no} (1 - specificity)", f"{yes} caught (sensitivity)")
    return figure


def _precision_recall(target: str, result: dict[str, Any]) -> Figure:
    _, yes = WORDS[target]
    figure, axes = canvas()
    share = result["n_positive"] / result["n"]
    axes.axhline(share, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(0.01, share + 0.015, f"chance: {filters.percent(share)}", color=MUTED)
    _curve(axes, result["curves"]["pr"])
    _thresholds(axes, result, "sensitivity", "precision")
    axes.set_title(f"PR-AUC {filters.figure(result['pr_auc'])}")
    _square(axes, f"{yes} caught (recall, sensitivity)", f"{yes} among those called so (precision)")
    return figure


def _calibration(target: str, result: dict[str, Any]) -> Figure:
    _, yes = WORDS[target]
    figure = Figure(figsize=(4.5, 4.1), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    bins = result["curves"]["calibration"]
    shown = [b for b in bins if b["n"] >= _MIN_IN_BIN and b["low"] is not None]
    x, y = [b["predicted"] for b in shown], [b["observed"] for b in shown]
    axes.vlines(x, [b["low"] for b in shown], [b["high"] for b in shown], color=BLUE, linewidth=1.3)
    before = [b for b in result["curves"]["uncalibrated"] if b["n"] >= _MIN_IN_BIN]
    axes.plot(
        [b["predicted"] for b in before],
        [b["observed"] for b in before],
        "o",
        markerfacecolor="none",
        markeredgecolor=MUTED,
        markersize=5,
        clip_on=False,
        label="before calibration",
    )
    axes.plot(x, y, "o", color=BLUE, markersize=5.5, clip_on=False, label="after calibration")
    for where, line in (("at_threshold", "-"), ("at_half", ":")):
        at = result[where]["threshold"]
        for panel in (axes, counts):
            panel.axvline(at, color=ORANGE, linewidth=1.1, linestyle=line, label=_named(at, where))
    axes.legend(loc="upper left", fontsize=9, frameon=True, facecolor=PAPER, edgecolor="none")
    axes.set_title(f"Calibration error {filters.figure(result['calibration_error'])}")
    _square(axes, "", f"observed share of {yes}")
    counts.bar([b["predicted"] for b in bins], [b["n"] for b in bins], width=0.03, color=BLUE, alpha=0.55)
    counts.set(xlabel=f"predicted probability of {yes}", ylabel="images")
    counts.grid(axis="x", visible=False)
    return figure


def _decision(target: str, result: dict[str, Any]) -> Figure:
    _, yes = WORDS[target]
    figure, axes = canvas()
    curve = result["curves"]["benefit"]
    x, share = np.array(curve["x"]), result["n_positive"] / result["n"]
    top = max(curve["high"])
    _curve(axes, curve, label="act on the model")
    everyone = share - (1 - share) * x / (1 - x)
    axes.plot(x, everyone, color=ORANGE, linewidth=1.4, linestyle=(0, (5, 2)), label="act on every lesion")
    axes.axhline(0, color=MUTED, linewidth=1, label="act on none")
    axes.set(
        xlim=(0, x[-1]),
        ylim=(-0.15 * top, 1.12 * top),
        xlabel=f"probability of {yes} from which one would act",
        ylabel="net benefit, true positives a lesion",
    )
    in_percent(axes.xaxis)
    axes.legend(loc="upper right")
    axes.set_title("Decision curve")
    return figure


def _confusion(target: str, result: dict[str, Any]) -> Figure:
    words = WORDS[target]
    figure = Figure(figsize=(4.5, 4.1), layout="constrained")
    for axes, where in zip(figure.subplots(2, 1), ("at_threshold", "at_half"), strict=True):
        at = result[where]
        cells = at["confusion"]
        table = np.array([[cells["tn"], cells["fp"]], [cells["fn"], cells["tp"]]])
        rows = table.sum(axis=1, keepdims=True)
        for i, j in np.ndindex(2, 2):
            colour = BLUE if i == j else ORANGE
            share = table[i, j] / rows[i, 0] if rows[i, 0] else 0.0
            axes.fill([j, j + 1, j + 1, j], [i, i, i + 1, i + 1], color=colour, alpha=0.08 + 0.42 * share)
            text = f"{table[i, j]:,}" + (f"  ({filters.percent(share)})" if rows[i, 0] else "")
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=11)
        axes.set_title(f"At the {_named(at['threshold'], where)}")
        axes.set(xlim=(0, 2), ylim=(2, 0))
        axes.set_xticks([0.5, 1.5], [f"called {word}" for word in words])
        axes.set_yticks([0.5, 1.5], [f"is {word}" for word in words])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return figure


def _named(threshold: float, where: str) -> str:
    return f"clinical threshold {threshold:.2f}" if where == "at_threshold" else f"threshold {threshold:.1f}"

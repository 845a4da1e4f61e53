"""`search.html`: the trials of a search, their learning curves, and their scores by setting."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from melascope import files
from melascope.learn.search import Result, Search
from melascope.report.figures import BLUE, FOLDER, INK, MUTED, ORANGE, PAPER, save, style, svg
from melascope.report.html import render

PAGE = "search.html"
_LOGARITHMIC = ("rate", "weight_decay")
_ROW = 3  # panels side by side


def write(result: Result, asked: Search, out: Path) -> Path:
    """Draw the figures of a search, `figures/search_*.png`, and write its page.

    Args:
        result: from `melascope.learn.search`.
        asked: what was searched.
        out: the search folder.

    Returns:
        The path of the page.
    """
    scored = result.trials[result.trials["score"].notna()]
    drawings: list[dict[str, Any]] = []
    if len(scored):
        with style():
            drawn = {
                "curves": ("Score after each epoch", _curves(result)),
                "settings": ("Score by setting", _settings(scored, asked.names, result.best)),
            }
        for name, (title, figure) in drawn.items():
            save(figure, out / FOLDER / f"search_{name}.png")
            drawings.append({"title": title, "svg": svg(figure, title)})
    best = result.trials[result.trials["number"] == result.best].to_dict("records")
    page = render(
        "search.html",
        best=best[0] if best else None,
        drawings=drawings,
        names=asked.names,
        given=asked.settings,
        sampler=asked.sampler,
        rows=result.trials.sort_values("score", ascending=False).to_dict("records"),
        states=result.trials["state"].value_counts().to_dict(),
        epochs=int(result.trials["epochs_run"].sum()),
        whole=int(result.trials["epochs"].sum())
        if "epochs" in result.trials
        else len(result.trials) * asked.settings.epochs,
        seconds=result.trials["seconds"].sum(),
    )
    files.write_text(out / PAGE, page)
    return out / PAGE


def _curves(result: Result) -> Figure:
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axes = figure.subplots()
    states = result.trials.set_index("number")["state"]
    for number, curve in result.curves.items():
        complete, best = states[number] == "complete", number == result.best
        axes.plot(
            list(curve),
            list(curve.values()),
            color=ORANGE if best else BLUE if complete else MUTED,
            alpha=1 if best else 0.6,
            linewidth=2.2 if best else 1.2,
            marker="o" if complete else "x",
            markersize=4,
            markevery=[-1] if curve else None,
            zorder=3 if best else 2,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel="mean validation ROC-AUC")
    handles = [
        axes.plot([], [], color=colour, marker=marker, markersize=4, label=label)[0]
        for colour, marker, label in (
            (ORANGE, "o", "the best"),
            (BLUE, "o", "ran to its end"),
            (MUTED, "x", "stopped early"),
        )
    ]
    axes.legend(handles=handles, loc="lower right")
    return figure


def _settings(scored: pd.DataFrame, names: tuple[str, ...], best: int | None) -> Figure:
    rows = -(-len(names) // _ROW)
    figure = Figure(figsize=(7.5, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, _ROW, sharey=True, squeeze=False)
    complete, first = scored["state"] == "complete", scored["number"] == best
    for axes, name in zip(panels.flat, names, strict=False):
        axes.plot(scored[name][~complete], scored["score"][~complete], "x", color=MUTED, markersize=5)
        axes.plot(scored[name][complete], scored["score"][complete], "o", color=BLUE, markersize=5)
        axes.plot(
            scored[name][first],
            scored["score"][first],
            "o",
            color=ORANGE,
            markersize=8,
            markeredgecolor=PAPER,
        )
        if name in _LOGARITHMIC:
            ends = np.log10([scored[name].min(), scored[name].max()])
            axes.set(xscale="log", xlim=10.0 ** np.array([np.floor(ends[0]), np.ceil(ends[1])]))
            # Of a narrow range, names of minor ticks would lie on each other.
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name.replace("_", " "), color=INK)
    for axes in panels.flat[len(names) :]:
        axes.remove()
    for axes in panels[:, 0]:
        axes.set_ylabel("ROC-AUC")
    return figure

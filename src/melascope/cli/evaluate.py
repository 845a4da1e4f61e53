"""`melascope evaluate`: how well a model does on a split, with intervals."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melascope.cli.options import DATA, REPORT, RUN, SPLIT
from melascope.cli.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melascope.evaluate.predictions import Evaluation
    from melascope.progress import Progress


class Split(StrEnum):
    """The images to evaluate on."""

    train = "train"
    validation = "validation"
    test = "test"
    all = "all"


def evaluate(
    model: Annotated[Path, RUN],
    data: Annotated[Path, DATA],
    out: Annotated[Path, REPORT],
    split: Annotated[Split, SPLIT] = Split.test,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples behind the intervals.")] = 0,
    prevalence: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.9999, help="Share of malignant lesions in practice: adds predictive values."
        ),
    ] = None,
) -> None:
    """Measure a model on images with known diagnosis and write a report.

    Writes predictions.parquet, metrics.json, figures/ and report.html, and prints the main figures with their
    95 % intervals.
    """
    from melascope.evaluate import evaluation
    from melascope.report import page

    with progress_bar() as progress:
        metrics = evaluation.evaluate(model, data, out, split.value, seed, progress, prevalence).metrics
        report = page.write(metrics, out, progress)
    for warning in metrics["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    for image in metrics["unreadable"]:
        typer.echo(f"{image['path']}: {image['reason']}", err=True)
    for line in _table(metrics):
        typer.echo(line)
    typer.echo(report)
    if metrics["unreadable"]:
        raise typer.Exit(1)


def evaluated(model: Path, data: Path, out: Path, split: str, progress: "Progress") -> "Evaluation":
    """The evaluation in a report folder; where there is none, it is made."""
    from melascope.errors import DataError
    from melascope.evaluate import evaluation
    from melascope.evaluate.predictions import METRICS, Evaluation

    if not (out / METRICS).is_file():
        return evaluation.evaluate(model, data, out, split, progress=progress)
    there = Evaluation.read(out)
    if (there.model, there.data.absolute(), there.split) != (str(model.absolute()), data.absolute(), split):
        raise DataError(
            f"{out}: holds the evaluation of another model, data set or split; name another --out"
        )
    return there


def _table(metrics: dict[str, Any]) -> "Iterator[str]":
    """The main figures of both targets, side by side."""
    from melascope.intervals import Figure

    targets = metrics["targets"]
    data, resampling = metrics["data"], metrics["resampling"]
    yield f"{metrics['model']['identity']} on {data['name']}, split {data['split']}"
    yield ""
    rows: list[tuple[str, list[str]]] = [
        ("images", [f"{t['n']} ({t['n_positive']} positive)" for t in targets.values()])
    ]

    def add(name: str, key: str, where: str | None = None) -> None:
        found = [(t[where] if where else t) if not t["reason"] else None for t in targets.values()]
        rows.append((name, [str(Figure.of(t[key])) if t else "-" for t in found]))

    for name, key in (("ROC-AUC", "roc_auc"), ("PR-AUC", "pr_auc"), ("Brier score", "brier")):
        add(name, key)
    add("calibration error", "calibration_error")
    for where in ("at_threshold", "at_half"):
        at = [f"{t[where]['threshold']:.3f}" if not t["reason"] else "-" for t in targets.values()]
        rows.append(("clinical threshold" if where == "at_threshold" else "threshold", at))
        for key in ("sensitivity", "specificity", "accuracy", "balanced_accuracy"):
            add(f"  {key.replace('_', ' ')}", key, where)
    yield f"{'':22}" + "".join(f"{target:26}" for target in targets).rstrip()
    for name, cells in rows:
        yield f"{name:22}" + "".join(f"{cell:26}" for cell in cells).rstrip()
    yield ""
    yield (
        f"In brackets: {100 * resampling['level']:.0f} % intervals, {resampling['resamples']} resamples of "
        f"groups, seed {resampling['seed']}."
    )

"""`melascope evaluate`: how well a model does on a split, with intervals."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

import melascope as ms
from melascope.cli.options import Data, ReportOut, Run, Seed, Split, SplitOption, option
from melascope.cli.progress import progress_bar
from melascope.cli.table import table


def evaluate(
    model: Run,
    data: Data,
    out: ReportOut,
    split: SplitOption = Split.TEST,
    seed: Seed = 0,
    prevalence: Annotated[
        float | None,
        option(
            "SHARE", "Share of malignant lesions in practice; adds predictive values.", min=0.0001, max=0.9999
        ),
    ] = None,
) -> None:
    """Measure a model on images with a known diagnosis, and write a report.

    Prints the main figures with their 95 % intervals. Writes report.html, metrics.json, predictions.parquet and
    figures/.

    Exit code 1: an image could not be read; each is named.

    Examples:
        $ melascope evaluate runs/first data/ --out report/
        $ melascope evaluate models/finetuned_model data/ --out report/ --split all
    """
    with progress_bar() as progress:
        report = ms.evaluate(
            model, data, out, split=split.value, seed=seed, prevalence=prevalence, progress=progress
        )
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    for image in report.metrics["unreadable"]:
        typer.echo(f"{image['path']}: {image['reason']}", err=True)
    for line in _lines(report.metrics):
        typer.echo(line)
    typer.echo(report.page)
    if report.metrics["unreadable"]:
        raise typer.Exit(1)


def _lines(metrics: dict[str, Any]) -> Iterator[str]:
    """The main figures of both targets, side by side."""
    targets = metrics["targets"]
    data, resampling = metrics["data"], metrics["resampling"]
    yield f"{metrics['model']['identity']} on {data['name']}, split {data['split']}"
    yield ""
    rows: list[tuple[str, ...]] = [
        ("", *targets),
        ("images", *(f"{t['n']} ({t['n_positive']} positive)" for t in targets.values())),
    ]

    def add(name: str, key: str, where: str | None = None) -> None:
        parts = (None if t["reason"] else t[where] if where else t for t in targets.values())
        rows.append((name, *(str(ms.Figure.of(part[key])) if part else "-" for part in parts)))

    for name, key in (("ROC-AUC", "roc_auc"), ("PR-AUC", "pr_auc"), ("Brier score", "brier")):
        add(name, key)
    add("calibration error", "calibration_error")
    for where in ("at_threshold", "at_half"):
        at = ("-" if t["reason"] else f"{t[where]['threshold']:.3f}" for t in targets.values())
        rows.append(("clinical threshold" if where == "at_threshold" else "threshold", *at))
        for key in ("sensitivity", "specificity", "accuracy", "balanced_accuracy"):
            add(f"  {key.replace('_', ' ')}", key, where)
    yield from table(rows)
    yield ""
    yield (
        f"In brackets: {100 * resampling['level']:.0f} % intervals, {resampling['resamples']} resamples of "
        f"groups, seed {resampling['seed']}."
    )

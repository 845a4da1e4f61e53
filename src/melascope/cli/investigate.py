"""`melascope investigate`: weak decisions, misses and false alarms of an evaluation."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.progress import progress_bar


def investigate(
    report: Annotated[Path, typer.Argument(help="Report folder made by `melascope evaluate`.")],
    band: Annotated[
        str | None,
        typer.Option(
            help="Two probabilities between which a decision is weak, such as 0.45,0.55 (default: where the model can "
            "rule out neither answer)."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write (default: the report folder).")] = None,
) -> None:
    """Show where the model is unsure or wrong, or the label may be, with heat maps.

    Writes weak_decisions.csv, suspected_labels.csv, and cases.html with galleries of false negatives, false
    positives, weak decisions and suspected labels. Exit code 1: an image that was evaluated can no longer be read.
    """
    from melascope.errors import DataError
    from melascope.evaluate.cases import measure
    from melascope.evaluate.predictions import Evaluation
    from melascope.report import cases as page

    try:
        low, high = (float(end) for end in (band or "0,1").split(","))
    except ValueError:
        raise DataError(f"--band {band}: give two probabilities, such as 0.45,0.55") from None
    chosen = (low, high) if band else None
    evaluation = replace(Evaluation.read(report), folder=out or report)
    with progress_bar() as progress:
        findings = measure(evaluation, band=chosen)
        written = page.write(findings, evaluation, chosen, progress)
    for line in findings.gone:
        sys.stderr.write(f"{line}\n")
    typer.echo(f"weak decisions   {len(findings.weak):6}")
    typer.echo(f"false negatives  {len(findings.missed):6}")
    typer.echo(f"false positives  {len(findings.alarms):6}")
    typer.echo(f"suspected labels {len(findings.suspected):6}")
    typer.echo(written)
    raise typer.Exit(1 if findings.gone else 0)

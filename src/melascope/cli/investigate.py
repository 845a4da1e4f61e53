"""`melascope investigate`: weak decisions, misses and false alarms of an evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.progress import progress


def investigate(
    report: Annotated[Path, typer.Argument(help="Report folder made by `melascope evaluate`.")],
    band: Annotated[
        str, typer.Option(help="Probabilities between which a decision is weak; as wide at the threshold.")
    ] = "0.45,0.55",
    out: Annotated[Path | None, typer.Option(help="Where to write [default: the report folder].")] = None,
) -> None:
    """Show where the model is unsure or wrong: weak_decisions.csv, and a page of galleries with heat maps."""
    from melascope.errors import DataError
    from melascope.evaluate.evaluation import read
    from melascope.explain import weak
    from melascope.infer.predictor import Predictor
    from melascope.report import investigation

    try:
        low, high = (float(end) for end in band.split(","))
    except ValueError:
        raise DataError(f"--band {band}: give two probabilities, such as 0.45,0.55") from None
    predictions, metrics = read(report)
    predictor = Predictor.load(metrics["model"]["path"])
    if predictor.card.identity != metrics["model"]["identity"]:
        raise DataError(f"{report}: the model has changed since; evaluate again")
    with progress() as tell:
        findings = weak.find(predictions, predictor.card.threshold["malignant"], (low, high), tell)
        page = investigation.write(findings, predictor, (low, high), out or report, tell)
    typer.echo(f"weak decisions   {len(findings.weak):6}")
    typer.echo(f"false negatives  {len(findings.missed):6}")
    typer.echo(f"false positives  {len(findings.alarms):6}")
    typer.echo(page)

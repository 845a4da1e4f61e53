"""`melascope card`: a model's card for people, and what reporting guidelines ask for."""

from pathlib import Path
from typing import Annotated

import typer


def card(
    report: Annotated[Path, typer.Argument(help="Report folder made by `melascope evaluate`.")],
    hold_out: Annotated[
        Path | None, typer.Option(help="transfer.json of `melascope hold-out`, of the same recipe and data.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write (default: the report folder).")] = None,
) -> None:
    """Write a card of the model that was evaluated, and where TRIPOD+AI, STARD-AI and CLAIM 2024 are answered.

    Writes card.html and guidelines.html from the report folder; what `doubt`, `stress` and `attribution` wrote there
    is told too.
    """
    from melascope.evaluate import transfer
    from melascope.evaluate.evaluation import read, same_model
    from melascope.infer.predictor import find
    from melascope.learn.card import Card
    from melascope.report import card as page

    _, metrics = read(report)
    made = Card.read(find(metrics["model"]["path"]).with_suffix(".json"))
    same_model(made, metrics, report)
    told = transfer.read(hold_out, made) if hold_out else None
    for written in page.write(metrics, made, report, out or report, told):
        typer.echo(written)

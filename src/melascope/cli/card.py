"""`melascope card`: a model's card for people, and what reporting guidelines ask for."""

from pathlib import Path
from typing import Annotated

import typer


def card(
    report: Annotated[Path, typer.Argument(help="Report folder made by `melascope evaluate`.")],
    hold_out: Annotated[
        Path | None, typer.Option(help="hold-out.json of `melascope hold-out`, of the same recipe and data.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write (default: the report folder).")] = None,
) -> None:
    """Write a card of the model that was evaluated, and where TRIPOD+AI, STARD-AI and CLAIM 2024 are answered.

    Writes card.html and guidelines.html from the report folder; what `doubt`, `stress` and `attribution` wrote there
    is told too.
    """
    from melascope.evaluate.hold_out import read as read_hold_out
    from melascope.evaluate.predictions import Evaluation
    from melascope.report import card as page

    evaluation = Evaluation.read(report)
    known = read_hold_out(hold_out, evaluation.card()) if hold_out else None
    for written in page.write(evaluation, hold_out=known, out=out):
        typer.echo(written)

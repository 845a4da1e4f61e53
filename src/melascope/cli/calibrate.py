"""`melascope calibrate`: a model's probabilities, thresholds and gate, fitted anew to other data."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli import recipe
from melascope.cli.options import DATA, RUN
from melascope.cli.progress import progress_bar


def calibrate(
    model: Annotated[Path, RUN],
    data: Annotated[Path, DATA],
    out: Annotated[Path, typer.Option(help="Run folder for the model with its new card.")],
    refuse: Annotated[list[str] | None, recipe.REFUSE] = None,
) -> None:
    """Fit calibration, operating points and gate of a model to your own images; its network stays the same.

    Probabilities and thresholds hold for lesions like those that they were fitted on. They are fitted on the validation
    split, so the test split stays fit to evaluate on. The gate, which refuses what is no dermoscopic image of a lesion,
    learns from the training split, and from images that `prepare` left out for not being dermoscopic.
    """
    from melascope.learn.recalibrate import recalibrate
    from melascope.model.card import Card

    with progress_bar() as progress:
        made = recalibrate(model, data, out, progress, refuse=recipe.refused(refuse))
    card = Card.read(made.with_suffix(".json"))
    for target, points in card.operating_points.items():
        typer.echo(f"{target}: {card.calibration[target].method} calibration")
        for point in points:
            sure = "" if point.held else " (not assured: too few such lesions)"
            typer.echo(f"  sensitivity {point.sensitivity:.2f}: yes from {point.threshold:.3f} on{sure}")
    for kind, share in card.gate["refused"].items():
        typer.echo(f"refused: {100 * share:5.1f} % of {kind}")
    typer.echo(made)

"""`melascope calibrate`: a model's probabilities, thresholds and gate, fitted to other data."""

from pathlib import Path
from typing import Annotated

import typer

import melascope as ms
from melascope.cli.options import Data, Refuse, Run, option
from melascope.cli.progress import progress_bar


def calibrate(
    model: Run,
    data: Data,
    out: Annotated[Path, option("FOLDER", "Run folder for the calibrated model.")],
    refuse: Refuse = None,
) -> None:
    """Fit a model's probabilities, thresholds and gate to your own images.

    The network stays the same. Probabilities and thresholds hold for lesions like those that they were fitted on. They
    are fitted on the validation split, so the test split stays fit for an evaluation.

    The gate refuses images that are not dermoscopic images of a lesion. It learns from the training split, and from the
    images that `prepare` excluded for not being dermoscopic.

    Examples:
        $ melascope calibrate models/finetuned_model data/ --out runs/ours
    """
    with progress_bar() as progress:
        calibrated = ms.calibrate(model, data, out, refuse=refuse or (), progress=progress)
    card = calibrated.card
    for target, points in card.operating_points.items():
        typer.echo(f"{target}: {card.calibration[target].method} calibration")
        for point in points:
            sure = "" if point.held else " (not assured: too few such lesions)"
            typer.echo(f"  sensitivity {point.sensitivity:.2f}: yes from {point.threshold:.3f} on{sure}")
    for kind, share in card.gate["refused"].items():
        typer.echo(f"refused: {100 * share:5.1f} % of {kind}")
    typer.echo(calibrated.files.keras)

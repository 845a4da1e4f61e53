"""`melascope train`: from a data set folder to a model and its card."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli import recipe
from melascope.cli.options import DATA
from melascope.cli.progress import progress_bar
from melascope.learn.settings import Settings


@recipe.takes_settings()
def train(
    data: Annotated[Path, DATA],
    out: Annotated[
        Path, typer.Option(help="Run folder. Run the same command to resume a run that was interrupted.")
    ],
    settings: Settings,
    refuse: Annotated[list[str] | None, recipe.REFUSE] = None,
) -> None:
    """Train a network: first a linear head on the frozen backbone, then everything at a low rate.

    Writes model.keras, its card model.json, its gate model.gate.npz, model.onnx for prediction, history.csv, and
    base.*: the same network before fine-tuning, which is the baseline to beat.
    """
    from melascope.learn.training import train

    with progress_bar() as progress:
        made = train(data, out, settings, progress, refuse=recipe.refused(refuse))
    for path in made:
        typer.echo(path)

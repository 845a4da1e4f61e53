"""`melascope tune`: random search over the settings of a training."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import melascope as ms
from melascope.cli.options import Data, Ray, option, takes_settings
from melascope.cli.progress import progress_bar


class Sampler(StrEnum):
    """How settings are drawn."""

    RANDOM = "random"
    TPE = "tpe"


@takes_settings(epochs=16)
def tune(
    data: Data,
    out: Annotated[Path, option("FOLDER", "Search folder.")],
    settings: dict[str, Any],
    trials: Annotated[int, option("N", "Trials in all. A higher number extends a search.", min=1)] = 20,
    search: Annotated[str, option("NAMES", "Settings to search, separated by commas; or all.")] = "all",
    sampler: Annotated[
        Sampler, typer.Option(help="tpe learns from earlier trials (Bergstra et al. 2011).")
    ] = Sampler.RANDOM,
    ray: Ray = None,
) -> None:
    """Search for good settings, and keep the best model.

    Each trial draws its settings at random. Poor trials are stopped early. A trial's score is the mean ROC-AUC of both
    targets on validation.

    `all` means rate, dropout, epochs (up to --epochs), weight_decay, augmentation and label_smoothing; and unfrozen,
    unless --weights is none. What is not searched is taken from the options.

    Run the same command again to resume a search, or in a second terminal to share the work. OUT becomes a run folder
    with the best model, trials.csv and search.html.

    Examples:
        $ melascope tune data/ --out runs/search --trials 40
        $ melascope tune data/ --out runs/rates --search rate,dropout --epochs 8
    """
    with progress_bar() as progress:
        model = ms.tune(
            data,
            out,
            trials=trials,
            search=search.split(","),
            sampler=sampler.value,
            ray=ray,
            progress=progress,
            **settings,
        )
    for path in (*out.glob("base.keras"), model.files.keras, out / "trials.csv", out / "search.html"):
        typer.echo(path)

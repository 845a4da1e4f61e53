"""`melascope tune`: random search over the settings of a training."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli import recipe
from melascope.cli.options import DATA, RAY
from melascope.cli.progress import progress_bar
from melascope.learn.settings import Settings


class Sampler(StrEnum):
    """How settings are drawn."""

    RANDOM = "random"
    TPE = "tpe"


@recipe.takes_settings(epochs=16)
def tune(
    data: Annotated[Path, DATA],
    out: Annotated[Path, typer.Option(help="Search folder; the same command goes on, or helps.")],
    settings: Settings,
    trials: Annotated[int, typer.Option(min=1, help="In all; more than before goes on with a search.")] = 20,
    search: Annotated[
        str,
        typer.Option(help="What to search: all, or some of the names below with commas between."),
    ] = "all",
    sampler: Annotated[
        Sampler, typer.Option(help="tpe learns from earlier trials (Bergstra et al. 2011).")
    ] = Sampler.RANDOM,
    ray: Annotated[str | None, RAY] = None,
) -> None:
    """Try settings drawn at random; most trials are stopped early, the best model is kept.

    Searched are rate, dropout, epochs (up to --epochs), weight_decay, augmentation, label_smoothing and, unless
    --weights is none, unfrozen. What is not searched is taken from the options. Trials are judged by the mean
    ROC-AUC of the targets on validation.

    The same command in a second terminal works on the same search. Killed, it goes on where it was. OUT becomes
    a run folder with the best model, trials.csv and search.html.
    """
    from melascope.learn import search as searching
    from melascope.report import search as page

    names = searching.searchable(settings) if search == "all" else tuple(search.split(","))
    asked = searching.Search(settings, names, trials, sampler.value)
    with progress_bar() as progress:
        found = (
            searching.search_on_ray(data, out, asked, ray, progress)
            if ray
            else searching.search(data, out, asked, progress)
        )
        page.write(found, asked, out)
    for path in (*found.models, out / searching.TRIALS, out / page.PAGE):
        typer.echo(path)

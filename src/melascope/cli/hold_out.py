"""`melascope hold-out`: leave-one-source-out validation, the figure of a clinic that training never saw."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli import recipe
from melascope.cli.progress import progress_bar
from melascope.learn.settings import Settings


@recipe.takes_settings()
def hold_out(
    data: Annotated[
        Path, typer.Argument(help="Data set folder made by `melascope prepare`, of several sources.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for all runs; what is finished is not done again.")],
    settings: Settings,
) -> None:
    """Train on all sources but one and test on that one, for each source in turn.

    Clinics of one data set count as one source. Of the other sources, images in one group with an image that is
    held out are left out too. Each source gets a folder OUT/SOURCE with data/, run/ and report/, and base/ for
    the frozen baseline; OUT/hold-out.json has the figures with their 95 % intervals, which are also printed.
    """
    from melascope.evaluate import hold_out
    from melascope.intervals import Figure

    with progress_bar() as progress:
        found = hold_out.run(data, out, settings, progress)
    for target, rows in found["targets"].items():
        typer.echo(f"ROC-AUC for {target}, by the source that was held out")
        for row in rows:
            cells = "".join(
                f"  {name} {Figure.of(row[name]) if row[name] else '-'}"
                for name in hold_out.STAGES
                if name in row
            )
            typer.echo(f"  {row['source']:24}{row['n']:>7,}{cells}")
    typer.echo(out / hold_out.NAME)

"""`melascope hold-out`: leave-one-source-out validation, the figure of a clinic that training never saw."""

from pathlib import Path
from typing import Annotated, Any

import typer

import melascope as ms
from melascope.cli.options import Data, option, takes_settings
from melascope.cli.progress import progress_bar
from melascope.cli.table import table


@takes_settings()
def hold_out(
    data: Data,
    out: Annotated[Path, option("FOLDER", "Folder for all runs.")],
    settings: dict[str, Any],
) -> None:
    """Train without each source in turn, and test on that source.

    It estimates how a model does in a clinic that it never saw. The data set needs several sources; clinics of one
    collection count as one. Images that share a patient, a lesion or a copy with the source are left out of training.

    Each source gets a folder OUT/SOURCE with data/, run/ and report/, and base/ for the frozen baseline. The figures
    with their 95 % intervals are printed, and written to OUT/hold-out.json. If interrupted, run the same command to
    resume.

    Examples:
        $ melascope hold-out data/ --out runs/other-clinics
    """
    from melascope.evaluate.hold_out import NAME, STAGES

    with progress_bar() as progress:
        results = ms.hold_out(data, out, progress=progress, **settings)
    for target, rows in results["targets"].items():
        stages = [stage for stage in STAGES if stage in rows[0]]
        figures = (
            (row["source"], row["n"], *(ms.Figure.of(row[stage]) if row[stage] else "-" for stage in stages))
            for row in rows
        )
        typer.echo(f"ROC-AUC for {target}, by the source that was held out")
        for line in table([("source", "images", *stages), *figures]):
            typer.echo(f"  {line}")
    typer.echo(out / NAME)

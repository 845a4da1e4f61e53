"""`melascope doubt`: which decisions a clinician should look at again."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.evaluate import evaluated
from melascope.cli.options import DATA, REPORT, RUN
from melascope.cli.progress import progress_bar


def doubt(
    model: Annotated[Path, RUN],
    data: Annotated[Path, DATA],
    out: Annotated[Path, REPORT],
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
) -> None:
    """Compare ways to tell doubtful decisions by the errors that they catch at equal referral rate.

    Bands of probability, conformal prediction sets (fitted on the validation split), and how far the answers to turned
    images spread, all on the test split. Writes doubt.json and doubt.html, with the risk-coverage curve.
    """
    from melascope.evaluate.doubt import measure
    from melascope.intervals import Figure
    from melascope.report import doubt as page
    from melascope.report.page import renew

    with progress_bar() as progress:
        found = measure(evaluated(model, data, out, "test", progress), seed=seed, progress=progress)
        written = page.write(found, out)
        renew(out, progress)
    rates = [f"{100 * float(rate):.0f} %" for rate in found["methods"][0]["caught"]]
    typer.echo(f"{'errors caught at a referral of':32}" + "".join(f"{rate:>8}" for rate in rates) + "   area")
    for row in found["methods"]:
        caught = "".join(f"{100 * figure['value']:6.1f} %" for figure in row["caught"].values())
        typer.echo(f"{row['name']:32}{caught}   {Figure.of(row['area'])}")
    typer.echo(written)

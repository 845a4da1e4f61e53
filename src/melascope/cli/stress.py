"""`melascope stress`: what hair, ink, light, blur and framing do to the answers."""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.evaluate import Split, evaluated
from melascope.cli.options import DATA, REPORT, RUN, SPLIT
from melascope.cli.progress import progress_bar


def stress(
    model: Annotated[Path, RUN],
    data: Annotated[Path, DATA],
    out: Annotated[Path, REPORT],
    split: Annotated[Split, SPLIT] = Split.test,
    images: Annotated[int, typer.Option(min=20, help="At most so many, of either class alike.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of choice, changes and resamples.")] = 0,
) -> None:
    """Change images as a clinic might, from mildly to strongly, and tell how the answers change.

    Hair, ruler, ink, gel bubbles, dark corners, light, exposure, blur, noise, compression, scale, shift, rotation: a
    lesion stays what it is. Writes stress.json and stress.html, with a plot and the worst examples.
    """
    from melascope.evaluate.stress import measure
    from melascope.intervals import Figure
    from melascope.report import stress as page
    from melascope.report.page import renew

    with progress_bar() as progress:
        evaluation = evaluated(model, data, out, split.value, progress)
        found, examples = measure(evaluation, images=images, seed=seed, progress=progress)
        written = page.write(found, examples, out)
        renew(out, progress)
    typer.echo(f"{'change':16}{'level':32}{'labels that change':26}change of ROC-AUC")
    for row in found["changes"]:
        flipped, change = str(Figure.of(row["flipped"])), Figure.of(row["roc_auc_change"])
        typer.echo(f"{row['change']:16}{row['description']:32}{flipped:26}{change}")
    typer.echo(written)

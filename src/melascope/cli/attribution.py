"""`melascope attribution`: do the answers rest on the lesion, and do the heat maps say so?"""

from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.evaluate import Split, evaluated
from melascope.cli.options import DATA, REPORT, RUN, SPLIT
from melascope.cli.progress import progress_bar
from melascope.prepare.tree import open_trees


def attribution(
    model: Annotated[Path, RUN],
    data: Annotated[Path, DATA],
    masks: Annotated[Path, typer.Option(help="Folder or ZIP of lesion masks, named by image id.")],
    out: Annotated[Path, REPORT],
    split: Annotated[Split, SPLIT] = Split.test,
    images: Annotated[int, typer.Option(min=20, help="At most so many.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of choice, grain and resamples.")] = 0,
) -> None:
    """Hide the lesions, then all but the lesions, and ask the model again; test its heat maps.

    Tells how much ROC-AUC is left without the lesion, how much of the heat lies in it, whether deleting hot places
    changes the answer more than deleting any, and whether the maps change when the network's weights are shuffled.
    Writes lesion.json and lesion.html.
    """
    from melascope.evaluate.lesion import PARTS, measure
    from melascope.intervals import Figure
    from melascope.report import lesion as page
    from melascope.report.page import renew

    members = [m for tree in open_trees(masks) for m in (*tree.images, *tree.passed_over)]
    with progress_bar() as progress:
        evaluation = evaluated(model, data, out, split.value, progress)
        of_masks = [m.locator for m in members]
        found, examples = measure(evaluation, of_masks, images=images, seed=seed, progress=progress)
        written = page.write(found, examples, out)
        renew(out, progress)
    for target, parts in found["parts"].items():
        if parts["reason"]:
            typer.echo(f"{target}: {parts['reason']}")
            continue
        typer.echo(f"ROC-AUC for {target}, {parts['n']} images")
        for name in PARTS:
            typer.echo(f"  {PARTS[name]:24}{Figure.of(parts[name])}")
        typer.echo(f"  {'left without the lesion':24}{Figure.of(parts['rest']):.2f}")
    everyone = found["maps"][0]
    typer.echo(
        f"heat in the lesion        {Figure.of(everyone['inside'])}, area {Figure.of(everyone['area'])}"
    )
    typer.echo(f"hottest place in it       {Figure.of(everyone['hit'])}")
    for name in ("deletion", "insertion"):
        typer.echo(f"{name}, heat less chance  {Figure.of(found['faithful'][name])}")
    for row in found["randomised"] or []:
        typer.echo(
            f"{row['layers']:4} of {row['of']} layers shuffled: maps correlate {row['correlation']:.2f}"
        )
    typer.echo(written)

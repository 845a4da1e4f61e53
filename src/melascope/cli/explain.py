"""`melascope explain`: where the network looked, one picture for each image."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.progress import progress
from melascope.cli.walk import walk


class Target(StrEnum):
    """Whose class activation map to show."""

    MALIGNANT = "malignant"
    MELANOMA = "melanoma"


def explain(
    images: Annotated[list[str], typer.Argument(help="Images; folders and ZIPs are walked in sorted order.")],
    model: Annotated[Path, typer.Option(help="A .keras file, the stem of one, or a run folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    target: Annotated[Target, typer.Option(help="Whose class activation map to show.")] = Target.MALIGNANT,
) -> None:
    """Draw each image beside its class activation map (Grad-CAM), with label and probability.

    A heat map shows where the network responded; it is not evidence. Exit code 1: an image could not be read.
    """
    from melascope import files
    from melascope.errors import ModelError
    from melascope.explain.overlay import panel
    from melascope.images import decode
    from melascope.infer.predictor import Predictor

    predictor = Predictor.load(model)
    if target not in predictor.card.threshold:
        raise ModelError(f"{model}: did not learn {target}; its data did not tell")
    named: dict[str, int] = {}
    failed = False
    with progress() as tell:
        for answer in predictor.predict(list(walk(images)), tell):
            if answer.status == "error":
                failed = True
                sys.stderr.write(f"{answer.path}: {answer.reason}\n")
                continue
            stem = Path(answer.path.rpartition(files.MEMBER)[2]).stem
            named[stem] = named.get(stem, 0) + 1
            name = stem if named[stem] == 1 else f"{stem}-{named[stem]}"
            # Read a second time: the predictor keeps only the small square that the network sees.
            pixels = decode(files.read(answer.path), answer.path)
            with files.replacing(out / f"{name}.png") as beside:
                panel(pixels, answer, target).save(beside, format="PNG")
            typer.echo(out / f"{name}.png")
    raise typer.Exit(1 if failed else 0)

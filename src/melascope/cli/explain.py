"""`melascope explain`: where the network looked, one picture for each image."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.options import MODEL
from melascope.cli.progress import progress_bar
from melascope.prepare.tree import images_of


class Target(StrEnum):
    """Whose class activation map to show."""

    MALIGNANT = "malignant"
    MELANOMA = "melanoma"


def explain(
    images: Annotated[list[str], typer.Argument(help="Images; folders and ZIPs are walked in sorted order.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    model: Annotated[Path | None, MODEL] = None,
    target: Annotated[Target, typer.Option(help="Whose class activation map to show.")] = Target.MALIGNANT,
) -> None:
    """Draw each image beside its class activation map (Grad-CAM), with label and probability.

    A heat map shows where the network responded; it is not evidence. Prints the path of each picture. Exit
    code 0: every image was read; 1: at least one could not be; 2: wrong usage, or a folder without images.
    """
    from melascope import files
    from melascope.errors import DataError, ModelError
    from melascope.explain.overlay import panel
    from melascope.infer.predictor import Predictor
    from melascope.model.folder import SHIPPED

    locators = images_of(images)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file; name a folder to write the pictures into")
    failed = False
    with progress_bar() as progress:
        predictor = Predictor.load(model or SHIPPED, progress)
        if target not in predictor.card.threshold:
            raise ModelError(
                f"{predictor.card.identity}: was not trained for {target}: its data had no {target} labels"
            )
        names = _names(locators, out)
        for done, (locator, name) in enumerate(zip(locators, names, strict=True), start=1):
            answer, pixels = predictor.explain(locator)
            progress("explaining", done, len(locators))
            if pixels is None:
                failed = True
                sys.stderr.write(f"{answer.path}: {answer.reason}\n")
                continue
            with files.replacing(out / name) as beside:
                panel(pixels, answer, target).save(beside, format="PNG")
            typer.echo(out / name)
    raise typer.Exit(1 if failed else 0)


def _names(locators: Iterable[str], out: Path) -> list[str]:
    """A file name for each image's picture: its own, with a number where that is taken.

    Names differ also where a file system ignores case, and none is that of an image that is being explained.
    """
    from melascope.files import split_locator

    paths = [Path(member or path) for path, member in map(split_locator, locators)]
    taken = {path.name.lower() for path in paths if path.parent.resolve() == out.resolve()}
    names = []
    for path in paths:
        stem, number = path.stem[:60], 1
        name = f"{stem}.png"
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name.lower())
        names.append(name)
    return names

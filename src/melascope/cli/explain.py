"""`melascope explain`: where the network responded, one picture for each image."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import melascope as ms
from melascope.cli.options import Images, Model, option
from melascope.cli.progress import progress_bar


class Target(StrEnum):
    """The target of a class activation map."""

    MALIGNANT = "malignant"
    MELANOMA = "melanoma"


def explain(
    images: Images,
    out: Annotated[Path, option("FOLDER", "Folder for the pictures.")],
    model: Model = None,
    target: Annotated[Target, typer.Option(help="Target of the class activation map.")] = Target.MALIGNANT,
) -> None:
    """Draw each image beside its class activation map (Grad-CAM), with label and probability.

    A heat map shows where the network responded. It is not evidence. The path of each picture is printed.

    Exit code 0: every image was read. Exit code 1: an image could not be read. Exit code 2: wrong usage, or a folder
    without images.

    Examples:
        $ melascope explain lesion.jpg --out overlays/
        $ melascope explain images/ --out overlays/ --target melanoma
    """
    from melascope.prepare.tree import images_of

    locators = images_of(images)
    if out.exists() and not out.is_dir():
        raise ms.DataError(f"{out}: a file; name a folder to write the pictures into")
    failed = False
    with progress_bar() as progress:
        loaded = ms.load(model, progress=progress)
        for number, (locator, name) in enumerate(zip(locators, _names(locators, out), strict=True), start=1):
            try:
                typer.echo(loaded.explain(locator, target.value).save(out / name))
            except ms.ImageError as error:
                failed = True
                sys.stderr.write(f"{error}\n")
            progress("drawing", number, len(locators))
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

"""What verbs that take images share: the words that name them, and the model to use."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from melascope import files
from melascope.errors import DataError
from melascope.prepare.tree import open_trees

MODEL = typer.Option(
    help="A .keras file, the stem of one, or a run folder (default: the shipped finetuned_model)."
)
RUN = typer.Argument(help="A run folder, a .keras file, or the stem of one.")
DATA = typer.Argument(help="Data set folder made by `melascope prepare`.")
REPORT = typer.Option(help="Report folder.")
SPLIT = typer.Option(help="`all` suits a data set the model never met.")
RAY = typer.Option(
    help="Spread the work over a Ray cluster: HOST:PORT, auto, or local. Its machines share the files' paths."
)


def walk(words: Iterable[str]) -> list[str]:
    """Name the images that words stand for, in the order given.

    Folders and ZIPs are walked in sorted order: of a folder the loose images, then those in each of its
    ZIPs; hidden files and lesion masks are passed over. A file is taken as it is, whatever its name, and a
    missing one too: its answer will say so.

    Raises:
        DataError: for a folder or ZIP that holds no image or cannot be opened.
    """
    return [locator for word in words for locator in _walk(word)]


def _walk(word: str) -> Iterator[str]:
    path = Path(word)
    if not (path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file())):
        yield word
        return
    trees = open_trees(word)
    if not any(tree.images for tree in trees):
        raise DataError(f"{word}: holds no images")
    for tree in trees:
        # Named as the user named the folder, not by the absolute paths that trees carry.
        named = os.path.normpath(os.path.join(word, os.path.relpath(tree.path, path.resolve())))
        for member in tree.images:
            if Path(tree.path).is_dir():
                yield os.path.join(named, member.name)
            else:
                yield f"{named}{files.MEMBER}{member.name}"

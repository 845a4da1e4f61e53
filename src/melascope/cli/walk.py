"""Words on the command line to images, for the verbs that take any."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from melascope import files
from melascope.errors import DataError
from melascope.prepare.tree import open_trees


def walk(words: Iterable[str]) -> Iterator[str]:
    """Name the images that words stand for, in the order given; folders and ZIPs in sorted order.

    A file is taken as it is, whatever its name, and a missing one too: its answer will say so.

    Raises:
        DataError: for a folder or ZIP that holds no image or cannot be opened.
    """
    for word in words:
        path = Path(word)
        is_zip = path.suffix.lower() == ".zip" and path.is_file()
        if not (path.is_dir() or is_zip):
            yield word
            continue
        trees = open_trees(word)
        if not any(tree.images for tree in trees):
            raise DataError(f"{word}: holds no images")
        for tree in trees:
            # Named as the user named the folder, not by the absolute paths that trees carry.
            named = os.path.join(word, os.path.relpath(tree.path, path.absolute())) if not is_zip else word
            named = os.path.normpath(named)
            is_member = is_zip or named.lower().endswith(".zip")
            for member in tree.images:
                yield f"{named}{files.MEMBER}{member.name}" if is_member else os.path.join(named, member.name)

"""What the folders above an image say: its class and its split."""

import re
from pathlib import PurePosixPath

from melascope import labels
from melascope.labels import UNKNOWN, Label
from melascope.prepare.layouts.facts import clean_id, is_archive_id

_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
# ISIC-2017_Training_Data, ISIC2018_Task3_Test_Input, ISBI2016_ISIC_Part3_Training_Data
_CHALLENGE = re.compile(r"(ISIC|ISBI|MILK10k).*_(Training|Validation|Test)(_|$)", re.IGNORECASE)


def is_split(word: str) -> bool:
    """Whether a folder's name is the name of a split, such as `train` or `val`."""
    return word.lower() in _SPLITS


def class_of(name: str) -> Label:
    """The label of the nearest folder that is a word of the label table.

    Args:
        name: path of the image inside its tree; the tree's own name says nothing.
    """
    for part in reversed(PurePosixPath(name).parts[:-1]):
        if labels.known(part):
            return labels.from_word(part)
    return UNKNOWN


def split_of(name: str, tree: str) -> str | None:
    """The split that the data itself gives an image: a folder `train`, or a challenge's folder or ZIP.

    >>> split_of("val/nevus/17.jpg", "clinic"), split_of("ISIC_0000001.jpg", "ISIC-2017_Test_v2_Data")
    ('validation', 'test')
    """
    for part in reversed((tree, *PurePosixPath(name).parts[:-1])):
        if is_split(part):
            return _SPLITS[part.lower()]
        if match := _CHALLENGE.match(part):
            return _SPLITS[match[2].lower()]
    return None


def id_of(name: str, label: str, listed: frozenset[str]) -> str:
    """The id of an image: the archive's, or one in a table; else its place, since `1.jpg` is no name.

    Args:
        name: path inside the tree.
        label: a name of the tree that no other tree has.
        listed: ids that some table names.
    """
    plain = clean_id(name)
    if is_archive_id(plain) or plain in listed:
        return plain
    return f"{label}/{PurePosixPath(name).with_suffix('')}"

"""What a training is asked for; imports no framework, so that the command can show its defaults at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from melascope import files
from melascope.errors import DataError


class Artefacts(StrEnum):
    """Whether training shows drawn hair, marks, bubbles and the like (see `melascope.learn.artefacts`)."""

    none = "none"
    drawn = "drawn"
    mean = "mean"
    """Train twice from the same start, with and without, and keep the mean of both networks' weights."""


@dataclass(frozen=True)
class Settings:
    """What a training is asked for."""

    backbone: str = "EfficientNetB0"
    weights: str | None = "imagenet"
    """`imagenet`, None for random weights, or a file of the backbone's weights."""
    size: int = 224
    epochs: int = 10
    """At most; 0 stops after the head."""
    patience: int = 3
    """Epochs without a better validation ROC-AUC after which to stop."""
    batch: int = 32
    rate: float | None = None
    """Peak learning rate; None: 1.5e-4 for fine-tuning, 1e-3 from random weights."""
    dropout: float = 0.2
    weight_decay: float = 1e-4
    augmentation: float = 1.0
    """Strength of the random changes, 0 to 2."""
    artefacts: Artefacts = Artefacts.drawn
    label_smoothing: float = 0.0
    """Share of a target's label that is replaced by a coin's."""
    unfrozen: float = 1.0
    """Share of the backbone's layers, counted from its top, that fine-tuning changes."""
    seed: int = 0


def claim(path: Path, wanted: Mapping[str, object], what: str) -> None:
    """Write down what a folder is for, or find that it is for the same already.

    Args:
        path: JSON file in the folder.
        wanted: what it is for.
        what: `a training` or the like.

    Raises:
        DataError: if it is for something else.
    """
    if not path.is_file():
        files.write_text(path, json.dumps(wanted, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise DataError(
            f"{path.parent}: holds {what} with other settings or data; name another --out, or remove it"
        )

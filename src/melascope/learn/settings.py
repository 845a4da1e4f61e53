"""What a training is asked for; imports no framework, so that the command can show its defaults at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from melascope import files
from melascope.errors import DataError


class Artefacts(StrEnum):
    """Whether training shows drawn hair, marks, bubbles and the like (see `melascope.learn.artefacts`)."""

    none = "none"
    drawn = "drawn"


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
    members: int = 1
    """Networks to train from the same start and to keep the mean of the weights of; see `member`."""
    seed: int = 0

    def member(self, number: int) -> Self:
        """What one of several members is trained with, from 0.

        The mean of weights gains by members that differ (Rame et al. 2022, diverse weight averaging): each has its
        own seed, and every other one sees no artefacts.
        """
        artefacts = (Artefacts.none, self.artefacts)[number % 2]
        return replace(self, members=1, seed=self.seed + number, artefacts=artefacts)


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

"""What a reader must know before any figure: what makes a test invalid or doubtful."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from melascope.labels import WORDS
from melascope.model.card import Card

ALL = "all"


@dataclass(frozen=True)
class Origin:
    """What was evaluated on."""

    name: str
    """As the user named the data set folder."""
    hash: str
    """`manifest.content_hash` of the whole data set."""
    split: str
    """`train`, `validation`, `test` or `all`."""
    allow_leaks: bool = False
    """Whether the data set was prepared with `--allow-leaks`."""
    path: str = ""
    """The absolute path of that folder."""


def caveats(predictions: pd.DataFrame, card: Card, origin: Origin, targets: dict[str, Any]) -> list[str]:
    """Sentences that stand above every figure.

    Args:
        predictions: what was measured.
        card: of the model.
        origin: what it was measured on.
        targets: the figures of each target.
    """
    sentences = []
    if origin.allow_leaks:
        sentences.append(
            "The data set was prepared with --allow-leaks: images of one lesion or patient are in several splits, so "
            "the model may have learned from the images it is tested on. No figure here supports a claim."
        )
    learned = card.data.get("hash")
    if learned == origin.hash:
        sentences += _reuse(origin.split)
    elif learned is None:
        sentences.append(
            "The model's card does not name its training data, so it is not known whether it has seen these images "
            "before."
        )
    else:
        sentences.append(
            "External test: the model learned from another data set. Both may share images, lesions or patients. "
            "Prepare both data sets in one call to find out: that compares their pixels."
        )
    if card.data.get("allow_leaks") and not origin.allow_leaks:
        sentences.append(
            "The model's own data set was prepared with --allow-leaks, so its threshold and calibration may be too "
            "hopeful: they were chosen on its validation split."
        )
    broken = int((predictions["status"] == "error").sum())
    if broken:
        sentences.append(f"{broken:,} of {len(predictions):,} images could not be read and are in no figure.")
    for target, figures in targets.items():
        n, positive = figures["n"], figures["n_positive"]
        if n and positive in {0, n} and not figures["reason"]:
            only = WORDS[target][1 if positive else 0]
            sentences.append(
                f"Every image whose {target} is known is {only}: most figures of it are undefined."
            )
    return sentences


def _reuse(split: str) -> list[str]:
    sentences = {
        "train": "These are the images that the model learned from: the figures show how well it remembers them, "
        "not how well it would do on a new patient.",
        "validation": "The model's stopping point, calibration and thresholds were chosen on these images, so "
        "the figures are too hopeful. Report those of the test split.",
        ALL: "Most of these images are those that the model learned from: the figures are far too hopeful. "
        "Report those of the test split.",
    }
    return [sentences[split]] if split in sentences else []

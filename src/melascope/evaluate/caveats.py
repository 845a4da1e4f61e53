"""What a reader must know before any figure: what spoils a test, or leaves it open."""

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
    said = []
    if origin.allow_leaks:
        said.append(
            "The data set was prepared with --allow-leaks: images of one lesion or patient stand in several "
            "splits, so the model may have learned from what it is tested on. No figure here supports a "
            "claim."
        )
    learned = card.data.get("hash")
    if learned == origin.hash:
        said += _reuse(origin.split)
    elif learned is None:
        said.append(
            "The model's card does not say which data it learned from, so it is not known whether it has "
            "seen these images before."
        )
    else:
        said.append(
            "External test: the model learned from another data set. That some images, lesions or patients "
            "are in both cannot be excluded unless their pixel hashes are compared, as preparing both data "
            "sets in one call does."
        )
    if card.data.get("allow_leaks") and not origin.allow_leaks:
        said.append(
            "The model's own data set was prepared with --allow-leaks, so its threshold and calibration, "
            "which were chosen on validation, may be too hopeful."
        )
    broken = int((predictions["status"] == "error").sum())
    if broken:
        said.append(f"{broken:,} of {len(predictions):,} images could not be read and are in no figure.")
    for target, found in targets.items():
        if found["n"] and found["n_positive"] in {0, found["n"]} and not found["reason"]:
            only = WORDS[target][1 if found["n_positive"] else 0]
            said.append(f"Every image whose {target} is known is {only}: most figures of it are undefined.")
    return said


def _reuse(split: str) -> list[str]:
    told = {
        "train": "These are the images that the model learned from: the figures say how well it remembers "
        "them, not how well it would do on a new patient.",
        "validation": "The model's stopping point, calibration and thresholds were chosen on these images, so "
        "the figures are too hopeful. Report those of the test split.",
        ALL: "Most of these images are those that the model learned from: the figures are far too hopeful. "
        "Report those of the test split.",
    }
    return [told[split]] if split in told else []

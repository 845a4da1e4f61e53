"""The settings of a training. No framework is imported, so that the command shows their defaults at once."""

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from math import inf
from typing import Any, Self

from melascope.errors import DataError


class Artefacts(StrEnum):
    """Whether training images get drawn hair, marks, bubbles and the like (see `melascope.learn.artefacts`)."""

    NONE = "none"
    DRAWN = "drawn"


def _option(text: str, **limits: float) -> dict[str, Any]:
    return {"help": text, **limits}


@dataclass(frozen=True)
class Settings:
    """The settings of a training. Of each field, the metadata have the text and the limits of its option."""

    backbone: str = field(
        default="EfficientNetB0",
        metadata=_option("A network of keras.applications, such as EfficientNetB0 or MobileNetV2."),
    )
    weights: str | None = field(
        default="imagenet",
        metadata=_option("imagenet (downloaded by Keras), none, or a file of the backbone's weights."),
    )
    size: int = field(default=224, metadata=_option("Side of the square input, in pixels.", min=32, max=1024))
    epochs: int = field(default=10, metadata=_option("Maximum epochs; 0 trains only the head.", min=0))
    patience: int = field(
        default=3, metadata=_option("Stop after this many epochs without a better validation score.", min=1)
    )
    batch: int = field(default=32, metadata=_option("Images per step.", min=1))
    rate: float | None = field(
        default=None,
        metadata=_option("Peak learning rate (default: 1.5e-4; 1e-3 with --weights none).", min=0),
    )
    dropout: float = field(default=0.2, metadata=_option("Dropout before the head.", min=0, max=0.9))
    weight_decay: float = field(default=1e-4, metadata=_option("Weight decay of AdamW.", min=0))
    augmentation: float = field(
        default=1.0, metadata=_option("Strength of random changes of place, scale and colour.", min=0, max=2)
    )
    artefacts: Artefacts = field(
        default=Artefacts.DRAWN, metadata=_option("Whether to draw hair, marks, bubbles, blur and the like.")
    )
    label_smoothing: float = field(
        default=0.0, metadata=_option("Label smoothing, 0 to 0.5.", min=0, max=0.5)
    )
    unfrozen: float = field(
        default=1.0,
        metadata=_option("Share of the backbone's layers to fine-tune, from its top.", min=0, max=1),
    )
    members: int = field(
        default=1,
        metadata=_option(
            "Networks to train from one start; the model gets the mean of their weights. Each has its own seed, and "
            "every other one sees no artefacts.",
            min=1,
        ),
    )
    seed: int = field(default=0, metadata=_option("Same seed, same machine, same model."))

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Settings from what a user gives, checked; for `weights`, the word `none` means None.

        Raises:
            DataError: for a name that is no setting, or a value out of its limits.
        """
        known = {field.name: field.metadata for field in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise DataError(f"{name}: no such setting; there are {', '.join(known)}")
            low, high = known[name].get("min", -inf), known[name].get("max", inf)
            if isinstance(value, int | float) and not low <= value <= high:
                limits = f"at least {low}" if high == inf else f"{low} to {high}"
                raise DataError(f"{name} {value}: give {limits}")
        settings = cls(**given)
        if settings.artefacts not in list(Artefacts):
            raise DataError(f"artefacts {settings.artefacts}: give {' or '.join(Artefacts)}")
        weights = None if settings.weights == "none" else settings.weights
        return replace(settings, weights=weights, artefacts=Artefacts(settings.artefacts))

    def member(self, number: int) -> Self:
        """The settings of one of several members, counted from 0.

        The mean of weights gains by members that differ (Rame et al. 2022, diverse weight averaging): each has its
        own seed, and every other one sees no artefacts.
        """
        artefacts = (Artefacts.NONE, self.artefacts)[number % 2]
        return replace(self, members=1, seed=self.seed + number, artefacts=artefacts)

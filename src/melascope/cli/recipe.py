"""The options of a training, for the verbs that train."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from melascope.learn.training import Settings

Backbone = Annotated[
    str, typer.Option(help="A network of keras.applications, such as EfficientNetB0 or MobileNetV2.")
]
Weights = Annotated[
    str, typer.Option(help="imagenet (downloaded by Keras), none, or a file of the backbone's weights.")
]
Size = Annotated[int, typer.Option(min=32, max=1024, help="Side of the square input, in pixels.")]
Epochs = Annotated[int, typer.Option(min=0, help="At most so many; 0 trains the head only.")]
Patience = Annotated[int, typer.Option(min=1, help="Stop after so many epochs without a gain.")]
Batch = Annotated[int, typer.Option(min=1, help="Images a step.")]
Rate = Annotated[
    float | None,
    typer.Option(min=0, help="Peak learning rate (default: 1.5e-4; 1e-3 with --weights none)."),
]
Dropout = Annotated[float, typer.Option(min=0, max=0.9, help="Dropout before the head.")]
WeightDecay = Annotated[float, typer.Option(min=0, help="Of AdamW.")]
Augmentation = Annotated[
    float, typer.Option(min=0, max=2, help="Strength of random changes of place, scale and colour.")
]
LabelSmoothing = Annotated[
    float, typer.Option(min=0, max=0.5, help="Share of a label that is replaced by a coin's.")
]
Unfrozen = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the backbone's layers, from its top, to fine-tune.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same machine, same model.")]


def settings(options: Mapping[str, Any]) -> "Settings":
    """The settings among the options of a verb, which have the names of the fields."""
    from melascope.learn.training import Settings

    chosen = {field.name: options[field.name] for field in fields(Settings)}
    return Settings(**chosen | {"weights": None if chosen["weights"] == "none" else chosen["weights"]})

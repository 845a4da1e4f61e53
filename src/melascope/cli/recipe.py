"""The options of a training, for the verbs that train: one for each field of its settings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from melascope.learn.settings import Artefacts, Settings
from melascope.prepare.tree import images_of
from melascope.progress import Progress

_OPTIONS: dict[str, Any] = {
    "backbone": Annotated[
        str, typer.Option(help="A network of keras.applications, such as EfficientNetB0 or MobileNetV2.")
    ],
    "weights": Annotated[
        str, typer.Option(help="imagenet (downloaded by Keras), none, or a file of the backbone's weights.")
    ],
    "size": Annotated[int, typer.Option(min=32, max=1024, help="Side of the square input, in pixels.")],
    "epochs": Annotated[int, typer.Option(min=0, help="At most so many; 0 trains the head only.")],
    "patience": Annotated[int, typer.Option(min=1, help="Stop after so many epochs without a gain.")],
    "batch": Annotated[int, typer.Option(min=1, help="Images a step.")],
    "rate": Annotated[
        float | None,
        typer.Option(min=0, help="Peak learning rate (default: 1.5e-4; 1e-3 with --weights none)."),
    ],
    "dropout": Annotated[float, typer.Option(min=0, max=0.9, help="Dropout before the head.")],
    "weight_decay": Annotated[float, typer.Option(min=0, help="Of AdamW.")],
    "augmentation": Annotated[
        float, typer.Option(min=0, max=2, help="Strength of random changes of place, scale and colour.")
    ],
    "artefacts": Annotated[
        Artefacts,
        typer.Option(help="Whether hair, marks, bubbles, blur and the like are drawn."),
    ],
    "label_smoothing": Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of a label that is replaced by a coin's.")
    ],
    "unfrozen": Annotated[
        float, typer.Option(min=0, max=1, help="Share of the backbone's layers, from its top, to fine-tune.")
    ],
    "members": Annotated[
        int,
        typer.Option(
            min=1,
            help="Train so many from one start, each with another seed and every other one without artefacts, and keep "
            "the mean of their weights.",
        ),
    ],
    "seed": Annotated[int, typer.Option(help="Same seed, same machine, same model.")],
}


REFUSE = typer.Option(
    help="Folder or ZIP of images that must be refused, for the gate to learn from; may be given several times."
)


def complete(
    models: Iterable[Path], data: Path, seed: int, progress: Progress, refuse: Sequence[str] | None = None
) -> None:
    """Give trained models what predictions run from and their gates, unless they have them.

    Args:
        models: `.keras` files of one input size, with their cards.
        data: that they learned from.
        seed: of everything random.
        progress: called with (what, done, total).
        refuse: the user's words for images that must be refused; each is a kind of its own.
    """
    from melascope.infer.predictor import Predictor
    from melascope.learn import fit_gate

    examples = None  # for all, who share their input size
    for path in models:
        predictor = Predictor.load(path, progress)
        if predictor.card.gate:
            continue
        if examples is None:
            others = {Path(word).stem: images_of([word]) for word in refuse or ()}
            examples = fit_gate.gather(data, predictor.card.input_size, others, seed, progress)
        fit_gate.fit(path, predictor.gate_features, examples, progress)


def takes_settings(**defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of a training in place of its parameter `settings`.

    Args:
        defaults: of options, where they are others than those of the settings.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = [parameter for parameter in signature(verb).parameters.values() if parameter.name != "settings"]
        options = [
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=defaults.get(field.name, field.default),
                annotation=_OPTIONS[field.name],
            )
            for field in fields(Settings)
        ]

        @wraps(verb)
        def with_settings(**given: Any) -> None:
            chosen = {option.name: given.pop(option.name) for option in options}
            chosen["weights"] = None if chosen["weights"] == "none" else chosen["weights"]
            verb(**given, settings=Settings(**chosen))

        # What Typer reads an option's type, help and default from.
        with_settings.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
        with_settings.__annotations__ = {item.name: item.annotation for item in (*own, *options)}
        return with_settings

    return decorate

"""The options of a training, for the verbs that train: one for each field of `Settings`."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from melascope.learn.settings import Settings
from melascope.prepare.tree import images_of

REFUSE = typer.Option(
    help="Folder or ZIP of images that must be refused, for the gate to learn from; may be given several times."
)


def refused(words: Sequence[str] | None) -> dict[str, list[str]]:
    """Locators of the images that `--refuse` names; each word is a kind of its own."""
    return {Path(word).stem: images_of([word]) for word in words or ()}


def takes_settings(**defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of a training in place of its parameter `settings`.

    Args:
        defaults: of options, where they differ from those of `Settings`.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = [parameter for parameter in signature(verb).parameters.values() if parameter.name != "settings"]
        options = [
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=defaults.get(field.name, field.default),
                annotation=Annotated[field.type, typer.Option(**field.metadata)],
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

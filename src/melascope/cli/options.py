"""Arguments and options that several verbs share, and those of a training."""

from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from melascope.learn.settings import Settings


class Split(StrEnum):
    """The images to evaluate on."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    ALL = "all"


def option(metavar: str, help: str, **limits: Any) -> Any:
    """An option of a verb.

    Args:
        metavar: stands for its value in the help.
        help: what it does.
        **limits: `min` and `max` of a number.
    """
    return typer.Option(metavar=metavar, help=help, **limits)


Data = Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder, made by `melascope prepare`.")]
Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images, and folders or ZIPs of images.")]
Run = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A run folder, a .keras file, or its path without the ending.")
]
Report = Annotated[
    Path, typer.Argument(metavar="REPORT", help="Report folder, made by `melascope evaluate`.")
]

Model = Annotated[
    Path | None,
    option(
        "MODEL", "A run folder, a .keras file, or its path without the ending (default: the shipped model)."
    ),
]
Sensitivity = Annotated[
    float | None,
    option("SHARE", "Use the operating point of this sensitivity, such as 0.89 (default: 0.95)."),
]
ReportOut = Annotated[Path, option("FOLDER", "Report folder.")]
SplitOption = Annotated[
    Split, option("NAME", "train, validation, test, or all, which is for data that the model never met.")
]
Masks = Annotated[Path | None, option("PATH", "Folder or ZIP of lesion masks, named by image id.")]
Band = Annotated[
    str | None,
    option(
        "LOW,HIGH",
        "Probabilities between which a decision is weak, such as 0.45,0.55 (default: where the model can rule "
        "out neither answer).",
    ),
]
HoldOut = Annotated[
    Path | None, option("FILE", "hold-out.json of `melascope hold-out`, with the same settings and data.")
]
Refuse = Annotated[
    list[str] | None,
    option("PATH", "Folder or ZIP of images that the model must refuse. May be given several times."),
]
Ray = Annotated[
    str | None,
    option(
        "ADDRESS",
        "Spread the work over a Ray cluster: HOST:PORT, auto, or local. All machines must see the same files.",
    ),
]
Seed = Annotated[int, option("N", "Random seed.", min=0)]

_METAVARS: dict[object, str | None] = {
    int: "N",
    float: "X",
    float | None: "X",
    str: "NAME",
    str | None: "NAME",
}


def takes_settings(**defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb an option for each field of `Settings`, in place of its parameter `settings`, a dictionary.

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
                annotation=Annotated[
                    field.type, typer.Option(metavar=_METAVARS.get(field.type), **field.metadata)
                ],
            )
            for field in fields(Settings)
        ]

        @wraps(verb)
        def with_settings(**given: Any) -> None:
            settings = {option.name: given.pop(option.name) for option in options}
            verb(**given, settings=settings)

        # From these Typer reads each option's type, help and default.
        with_settings.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
        with_settings.__annotations__ = {item.name: item.annotation for item in (*own, *options)}
        return with_settings

    return decorate

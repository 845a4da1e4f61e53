"""Former names of verbs: they work for one more release, and say the new name."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli import info

model = typer.Typer(no_args_is_help=True)


def _renamed(old: str, new: str) -> None:
    sys.stderr.write(
        f"`melascope {old}` is now `melascope {new}`; the old name will go in the next release\n"
    )


@model.callback()
def _model() -> None:
    """Renamed: `melascope info`."""


@model.command("info")
def model_info(model: Annotated[Path, info.MODEL], format: info.Format = info.Format.TEXT) -> None:
    """Renamed: `melascope info`."""
    _renamed("model info", "info")
    info.info(model, format)

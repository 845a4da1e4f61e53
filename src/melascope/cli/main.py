"""The command `melascope`: its verbs, and errors as one line.

Exit codes: 0, done; 1, done, but some inputs could not be read (each is named); 2, could not be done.
"""

import importlib.util
import os
import signal
import sys

import typer

from melascope import __version__
from melascope.cli import (
    attribution,
    calibrate,
    card,
    demo,
    doubt,
    evaluate,
    explain,
    fetch,
    hold_out,
    info,
    investigate,
    predict,
    prepare,
    serve,
    stress,
    train,
    tune,
)
from melascope.errors import MelascopeError

app = typer.Typer(
    name="melascope",
    help="Melanoma classification of dermoscopic images that does not fool you. "
    "A research tool: it supports a clinician and never replaces one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    prepare,
    train,
    tune,
    hold_out,
    calibrate,
    evaluate,
    stress,
    attribution,
    doubt,
    investigate,
    card,
    explain,
    predict,
    serve,
    demo,
):
    app.command()(getattr(verb, verb.__name__.rpartition(".")[2]))
app.add_typer(fetch.app, name="fetch")
app.add_typer(info.app, name="model")


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"melascope {__version__}")
        raise typer.Exit


_EXTRA = {
    "keras": "train",
    "torch": "train",
    "h5py": "train",
    "onnx": "train",
    "onnxscript": "train",
    "optuna": "train",
    "ray": "scale",
    "fastapi": "web",
    "httptools": "web",
    "prometheus_client": "web",
    "pydicom": "web",
    "pydantic": "web",
    "python_multipart": "web",
    "starlette": "web",
    "uvicorn": "web",
}


def main() -> None:
    """Run the command; every error a user can cause ends as one line on standard error."""
    try:
        app()
    except MelascopeError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if importlib.util.find_spec(package) is not None or package == "melascope":
            raise
        extra = _EXTRA.get(package, "data")
        _fail(f"this needs the package {package}; pip install 'melascope[{extra}]'")
    except BrokenPipeError:
        # The reader of our output left, as `head` does; leave as quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def _fail(message: str) -> None:
    sys.stderr.write(f"melascope: {' '.join(message.split())}\n")
    raise SystemExit(2) from None

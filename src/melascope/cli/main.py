"""The command `melascope`: its verbs, and errors as one line.

Exit codes: 0, done; 1, done, but some inputs could not be read (each is named); 2, could not be done.
"""

import importlib.util
import os
import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from melascope import __version__
from melascope.cli import (
    calibrate,
    check,
    demo,
    evaluate,
    explain,
    fetch,
    former,
    hold_out,
    info,
    predict,
    prepare,
    serve,
    train,
    tune,
)
from melascope.cli.help import add
from melascope.errors import MelascopeError
from melascope.labels import NOTICE


class _Verbs(TyperGroup):
    """Lists `fetch`, which is a group, before `prepare`; Typer lists groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        names.insert(names.index("prepare"), names.pop(names.index("fetch")))
        return names


app = typer.Typer(
    name="melascope",
    cls=_Verbs,
    help=f"Melanoma classification of dermoscopic images that does not fool you.\n\n{NOTICE}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


add(app, demo.demo, panel="Start here")
app.add_typer(fetch.app, name="fetch", rich_help_panel="Data")
add(app, prepare.prepare, panel="Data")
add(app, train.train, panel="Models")
add(app, tune.tune, panel="Models")
add(app, calibrate.calibrate, panel="Models")
add(app, hold_out.hold_out, panel="Models")
add(app, info.info, panel="Models")
add(app, evaluate.evaluate, panel="Evidence")
add(app, check.check, panel="Evidence")
add(app, predict.predict, panel="Use")
add(app, explain.explain, panel="Use")
add(app, serve.serve, panel="Use")
add(app, former.stress, hidden=True)
add(app, former.attribution, hidden=True)
add(app, former.doubt, hidden=True)
add(app, former.investigate, hidden=True)
add(app, former.card, hidden=True)
app.add_typer(former.model, name="model", hidden=True)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."),
) -> None:
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
        app(prog_name="melascope")
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

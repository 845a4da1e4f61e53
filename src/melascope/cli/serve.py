"""`melascope serve`: the page and the API, on this machine unless told otherwise."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import melascope as ms
from melascope.cli.options import Model, Sensitivity, option
from melascope.cli.progress import progress_bar

_TOKEN = "MELASCOPE_TOKEN"  # noqa: S105  # its name
_MIN_TOKEN = 16  # characters
_MAX_DEFAULT = 8  # processes answer a thousand images a second; more need memory that a user should know of


def serve(
    model: Model = None,
    host: Annotated[
        str, option("ADDRESS", "Address to listen on. All but loopback need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, option("N", "0 takes a free port.", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        option("FILE", f"File with the token that requests must bear (default: the variable {_TOKEN})."),
    ] = None,
    sensitivity: Sensitivity = None,
    jobs: Annotated[
        int | None,
        option(
            "N",
            f"Processes that classify images, 150 MB each (default: one per core, at most {_MAX_DEFAULT}).",
            min=1,
            max=256,
        ),
    ] = None,
) -> None:
    """Serve a page and a REST API that classify the images sent to them.

    Prints the address. Images stay in memory, and nothing of them is logged. Ctrl-C or SIGTERM ends the server, after
    the answers in flight.

    Examples:
        $ melascope serve
        $ melascope serve --model runs/first --host 0.0.0.0 --token-file token.txt
    """
    from melascope.web import server  # first, since it says which packages are missing

    token = _token(token_file)
    near = server.is_loopback(host)
    if token is None and not near:
        raise ms.DataError(
            f"{host}: others could reach this address, so requests must bear a token; "
            f"give --token-file FILE or set {_TOKEN}"
        )
    from melascope.images import CORES
    from melascope.web.app import create_app
    from melascope.web.workers import WorkerPool

    size = jobs or min(CORES, _MAX_DEFAULT)
    with ExitStack() as stack:
        with progress_bar() as progress:
            predictor = ms.load(model, sensitivity, progress).predictor
            listening = stack.enter_context(server.listen(host, port))
            pool = stack.enter_context(WorkerPool(predictor, size, progress))
        app = create_app(predictor.card, pool, size, token, server.names_of(host) if near else None)
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"http://{shown}:{listening.getsockname()[1]}")
        sys.stdout.flush()
        sys.stderr.write(f"{predictor.card.identity}, {size} images at once; Ctrl-C ends it\n")
        # The server gives a signal back once it has ended in order.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: sys.exit(0))
        server.run(app, listening)


def _token(file: Path | None) -> str | None:
    if file is None:
        token, source = os.environ.get(_TOKEN), _TOKEN
    else:
        source = str(file)
        try:
            token = file.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise ms.DataError(
                f"{file}: cannot be read as a token ({getattr(error, 'strerror', None) or 'not ASCII'})"
            ) from error
    if token is None:
        return None
    token = token.strip()
    if len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ms.DataError(f"{source}: a token has at least {_MIN_TOKEN} ASCII characters, without spaces")
    return token

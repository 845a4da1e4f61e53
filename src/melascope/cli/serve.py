"""`melascope serve`: the page and the API, on this machine unless told otherwise."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.options import MODEL
from melascope.cli.progress import progress_bar
from melascope.errors import DataError

_TOKEN = "MELASCOPE_TOKEN"  # noqa: S105  # its name
_SHORTEST = 16
_MOST = 8  # a thousand images a second; the memory of more is asked for


def serve(
    model: Annotated[Path | None, MODEL] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; all but loopback need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the token that requests must bear; else the variable {_TOKEN}."),
    ] = None,
    sensitivity: Annotated[
        float | None, typer.Option(help="Operating point of the model to use, such as 0.89 (default: 0.95).")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help=f"Processes that judge images, of 150 MB each (default: one a core, {_MOST} at most).",
        ),
    ] = None,
) -> None:
    """Serve a page and a REST API: label and calibrated probability, or a refusal, for each image sent.

    Prints the address. Images are kept in memory only, and nothing of them is logged. Ctrl-C or SIGTERM ends
    it, after the answers in flight.
    """
    from melascope.web import server  # first, as it tells what is missing

    token = _token(token_file)
    near = server.is_loopback(host)
    if token is None and not near:
        raise DataError(
            f"{host}: others could reach this address, so requests must bear a token; "
            f"give --token-file FILE or set {_TOKEN}"
        )
    from melascope.images import CORES
    from melascope.infer.predictor import Predictor
    from melascope.model.folder import SHIPPED
    from melascope.web.app import create_app
    from melascope.web.workers import WorkerPool

    size = jobs or min(CORES, _MOST)
    with ExitStack() as stack:
        with progress_bar() as progress:
            predictor = Predictor.load(model or SHIPPED, progress, sensitivity)
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
            raise DataError(
                f"{file}: cannot be read as a token ({getattr(error, 'strerror', None) or 'not ASCII'})"
            ) from error
    if token is None:
        return None
    token = token.strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise DataError(f"{source}: a token has at least {_SHORTEST} ASCII characters, without spaces")
    return token

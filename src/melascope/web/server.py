"""From an application to a server: an address of its own, and an orderly end."""

import ipaddress
import logging
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from melascope.errors import DataError
from melascope.web.limits import Limits

_GRACE_S = 30  # for answers in flight when the server is told to end
_IDLE_S = 15
_CONNECTIONS = 512
_LONGEST_HEAD = 64 * 2**10
_LONGEST = Limits().request_bytes + 2**20  # beyond it, what is refused already is not even thrown away


class BoundedHttp(HttpToolsProtocol):
    """Ends a connection whose head or message does not end; the parser, a fast one, would keep or drain it all."""

    _came = 0
    """Bytes of the message so far."""
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._came += len(data)
        super().data_received(data)
        if self._came > (_LONGEST_HEAD if self._in_head else _LONGEST):
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Another head may follow."""
        self._came, self._in_head = 0, True
        super().on_message_complete()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> set[str]:
    """What a browser on this machine may call a loopback address."""
    return {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}


def listen(host: str, port: int) -> socket.socket:
    """Take an address.

    Raises:
        DataError: if it is taken or not one of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{host}:{port}: cannot listen there ({reason}); name another --host or --port"
        ) from error


def run(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until a signal says to end; answers in flight are finished first."""
    logging.getLogger("melascope.web").addHandler(logging.StreamHandler())
    config = uvicorn.Config(
        app,
        log_level="critical",  # its errors are tracebacks, and the guard tells of faults without what they say
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=BoundedHttp,
        ws="none",
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=_CONNECTIONS,
    )
    uvicorn.Server(config).run(sockets=[listening])

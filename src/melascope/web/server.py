"""Run the application: listen on an address, serve, shut down in order."""

import ipaddress
import logging
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from melascope.errors import DataError
from melascope.web.limits import Limits

_GRACE_S = 30  # for answers in flight at shutdown
_IDLE_S = 15
_CONNECTIONS = 512
_MAX_HEAD_BYTES = 64 * 2**10
_MAX_MESSAGE_BYTES = Limits().request_bytes + 2**20  # the rest of a refused request is drained up to here


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose head or message is too long; the fast parser has no limit of its own."""

    _received = 0
    """Bytes of the message so far."""
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Count the bytes and pass them on."""
        self._received += len(data)
        super().data_received(data)
        if self._received > (_MAX_HEAD_BYTES if self._in_head else _MAX_MESSAGE_BYTES):
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Another head may follow."""
        self._received, self._in_head = 0, True
        super().on_message_complete()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> set[str]:
    """Host names that a browser on this machine may use for a loopback address."""
    return {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        DataError: if the address is in use or not one of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{host}:{port}: cannot listen there ({reason}); choose another --host or --port"
        ) from error


def run(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until a signal arrives; answers in flight are finished first."""
    logging.getLogger("melascope.web").addHandler(logging.StreamHandler())
    config = uvicorn.Config(
        app,
        log_level="critical",  # its errors are tracebacks; `security` logs them without their messages
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

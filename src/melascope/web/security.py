"""What stands before every request: who may ask, what a browser may do with the answer, and what is kept of it."""

import hmac
import logging
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from melascope.web.errors import Refusal, place
from melascope.web.metrics import Meters

_LOG = logging.getLogger("melascope.web")
_SAFE = ("GET", "HEAD", "OPTIONS")
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_RAW = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """An application in front of another.

    Args:
        app: the application.
        meters: count requests.
        paths: that are counted by name.
        token: that requests must bear, except to `public` paths; None for no token.
        public: paths that need no token, and may be kept by a browser.
        hosts: names that a browser may know this server by, without port; None for any. A page elsewhere
            whose name is made to point at this machine (DNS rebinding) is thereby kept out.
    """

    def __init__(
        self,
        app: ASGIApp,
        meters: Meters,
        paths: Collection[str],
        token: str | None = None,
        public: Collection[str] = (),
        hosts: Collection[str] | None = None,
    ) -> None:
        self._app, self._meters, self._paths = app, meters, frozenset(paths)
        self._token = None if token is None else token.encode()
        self._public = frozenset(public)
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, path = time.perf_counter(), 0, scope["path"]

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *_RAW]
                if path not in self._public:
                    headers.append(_NO_STORE)
                message = {**message, "headers": headers}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, guarded)
        except Refusal as refusal:
            await refusal.response()(scope, receive, guarded)
        except Exception as error:
            _LOG.error("%s", place(error))
        finally:
            known = path if path in self._paths else "other"
            self._meters.request(known, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Refusal(421, "this server answers to other names; use the address that it printed")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        foreign = bool(origin) and origin.partition("://")[2] != host
        if scope["method"] not in _SAFE and (foreign or headers.get(b"sec-fetch-site") == b"cross-site"):
            raise Refusal(403, "requests from pages of other origins are refused")
        if self._token is not None and scope["path"] not in self._public:
            scheme, _, sent = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(sent.strip(), self._token):
                raise Refusal(
                    401, "needs the server's token: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer"
                )


def _name(host: str) -> str:
    """A host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host

"""Checks before every request, and headers on every answer: token, host, origin, browser policy, metrics."""

import hmac
import logging
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from melascope.web.errors import RequestError, place
from melascope.web.metrics import Metrics

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


class SecurityMiddleware:
    """An ASGI application in front of another.

    Args:
        app: the application.
        metrics: counts requests.
        paths: counted by name; all others count as `other`.
        token: that requests must carry, except for `public` paths; None for no token.
        public: paths that need no token and may be cached by a browser.
        hosts: names that a browser may use for this server, without port; None for any. This keeps out a
            foreign page whose host name was made to point to this machine (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        paths: Collection[str],
        token: str | None = None,
        public: Collection[str] = (),
        hosts: Collection[str] | None = None,
    ) -> None:
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)
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
        except RequestError as error:
            await error.response()(scope, receive, guarded)
        except Exception as error:
            _LOG.error("%s", place(error))
        finally:
            known = path if path in self._paths else "other"
            self._metrics.request(known, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts is not None and _name(host) not in self._hosts:
            raise RequestError(421, "unknown host name; use the address that the server printed")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        foreign = bool(origin) and origin.partition("://")[2] != host
        if scope["method"] not in _SAFE and (foreign or headers.get(b"sec-fetch-site") == b"cross-site"):
            raise RequestError(403, "requests from pages of other origins are refused")
        if self._token is not None and scope["path"] not in self._public:
            scheme, _, sent = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(sent.strip(), self._token):
                raise RequestError(
                    401,
                    "this server requires a token: Authorization: Bearer TOKEN",
                    WWW_Authenticate="Bearer",
                )


def _name(host: str) -> str:
    """A host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host

"""Requests that survive a bad network: every one is tried again, with growing waits, until its answer is whole."""

import contextlib
import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from melascope import __version__
from melascope.errors import DataError, one_line

T = TypeVar("T")

TRIES = 8
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_MOST_PATIENCE_S = 300.0  # a server that wants to be left alone for longer is not waited for
_MOST_UNSOUND = 5  # a file that comes whole but wrong so often is wrong
_QUIET_S, _PAUSE_S = 2.0, 10.0  # waits that need no word, and the time between two words
_BUSY = frozenset({408, 425, 429})
_NO_TRUST = "its certificate is not trusted; where a proxy has one of its own, name that in SSL_CERT_FILE"
# Only redirects are left to urllib3: it cannot try a body again.
_REDIRECTS = Retry(connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False)


class RefusedError(DataError):
    """The server will not give this, however often it is asked.

    Attributes:
        status: such as 404.
        detail: the server's reason, one line; empty where it gives none.
    """

    def __init__(self, url: str, status: int, detail: str) -> None:
        super().__init__(f"{bare(url)}: refused with status {status}{f' ({detail})' if detail else ''}")
        self.status, self.detail = status, detail


class UnreachableError(DataError):
    """No whole answer, after all tries."""


class UnsoundError(Exception):
    """An answer that is not what it should be, such as a page in place of an image; worth another try."""


class StoppedError(Exception):
    """Another thread said stop."""


class Client:
    """Connections kept open and shared by threads; honours the environment's proxies and certificates.

    Args:
        connections: how many to each server are kept open.
        say: hears, now and then, why and how long a thread waits.
        first_wait: seconds before the second try; each further wait is up to twice as long.
    """

    def __init__(
        self,
        connections: int = 1,
        say: Callable[[str], None] = lambda _: None,
        first_wait: float = _FIRST_WAIT_S,
    ) -> None:
        self.stop = threading.Event()
        """Set, it ends every wait and transfer with `StoppedError`."""
        self._first_wait = first_wait
        self._say, self._said = say, 0.0
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}  # by scheme and host
        self._options: dict[str, Any] = {
            "maxsize": connections,
            "timeout": Timeout(connect=10, read=30),
            "ssl_context": _certificates(),
        }

    def ask(
        self,
        url: str,
        take: Callable[[BaseHTTPResponse], T],
        *,
        method: str = "GET",
        headers: Callable[[], Mapping[str, str]] = dict,
        tries: int = TRIES,
    ) -> T:
        """Ask until `take` is content with the answer.

        Args:
            url: what for.
            take: reads the answer, whose status is below 400; raises `UnsoundError` to have it asked again.
            method: of HTTP.
            headers: tells what to add to the usual headers, anew for each try.
            tries: at most; `UnsoundError` answers end them earlier.

        Raises:
            RefusedError: for a status that another try will not change.
            UnreachableError: if all tries failed, or the server asks for too much patience.
            StoppedError: if another thread set `stop`.
        """
        usual = {"User-Agent": f"melascope/{__version__}", "Accept-Encoding": "identity"}
        unsound = 0
        for tried in range(1, tries + 1):
            asked_for: float | None = None
            try:
                with self._answer(method, url, {**usual, **headers()}) as answer:
                    if answer.status < 400:
                        return take(answer)
                    reason = f"status {answer.status}"
                    if answer.status not in _BUSY and answer.status < 500:
                        raise RefusedError(url, answer.status, _detail(answer))
                    asked_for = _patience(answer)
            except UnsoundError as error:
                unsound += 1
                reason = str(error)
            except HTTPError as error:
                reason = _reason(error)
                if "CERTIFICATE_VERIFY_FAILED" in reason:
                    raise UnreachableError(f"{bare(url)}: {_NO_TRUST}") from error
            if asked_for is not None and asked_for > _MOST_PATIENCE_S:
                raise UnreachableError(f"{bare(url)}: busy, asks to come back in {asked_for:.0f} s")
            if tried == tries or unsound == _MOST_UNSOUND:
                break
            self._wait(tried, asked_for, f"{bare(url)}: {reason}")
        raise UnreachableError(f"{bare(url)}: {reason}, {tried} times")

    def json(self, url: str) -> Any:
        """The answer as JSON."""

        def read(answer: BaseHTTPResponse) -> Any:
            try:
                return json.loads(answer.read(decode_content=True))
            except ValueError as error:
                raise UnsoundError("not JSON") from error

        return self.ask(url, read, headers=_json)

    @contextlib.contextmanager
    def _answer(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        if self.stop.is_set():
            raise StoppedError
        answer = self._pool(url).request(
            method, url, headers=headers, retries=_REDIRECTS, preload_content=False, decode_content=False
        )
        try:
            yield answer
        finally:
            answer.close()  # what was read to its end keeps its connection all the same

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        place = parts.scheme, parts.hostname or ""
        with self._lock:
            if place not in self._pools:
                self._pools[place] = self._made(*place, url)
            return self._pools[place]

    def _made(self, scheme: str, host: str, url: str) -> urllib3.PoolManager:
        if scheme not in ("http", "https") or not host:
            raise DataError(f"{url}: not an address of the web")
        proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        return urllib3.ProxyManager(proxy, **self._options) if proxy else urllib3.PoolManager(**self._options)

    def _wait(self, tried: int, asked_for: float | None, why: str) -> None:
        own = min(_LONGEST_WAIT_S, self._first_wait * 2 ** (tried - 1)) * random.uniform(0.5, 1)  # noqa: S311
        wait = max(own, asked_for or 0)
        now = time.monotonic()
        with self._lock:
            heard = wait > _QUIET_S and now - self._said > _PAUSE_S
            self._said = now if heard else self._said
        if heard:
            self._say(f"{why}; trying again in {wait:.0f} s")
        if self.stop.wait(wait):
            raise StoppedError


def _json() -> Mapping[str, str]:
    return {"Accept": "application/json", "Accept-Encoding": "gzip"}


def bare(url: str) -> str:
    """An address without its query, which may hold a signature and is of no use to a reader."""
    return url.partition("?")[0]


def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()  # those of the system, or of SSL_CERT_FILE
    context.load_verify_locations(certifi.where())  # not every Python finds the system's
    return context


def _patience(answer: BaseHTTPResponse) -> float | None:
    """Seconds that `Retry-After` asks for, given as a number or a date."""
    try:
        return Retry().get_retry_after(answer)
    except HTTPError:
        return None


def _detail(answer: BaseHTTPResponse) -> str:
    """The reason in an error's JSON: `{"message": ...}`, `{"detail": "..."}` or `{"detail": [{"msg": ...}]}`."""
    try:
        body = json.loads(answer.read(2**16, decode_content=True))
        detail = body.get("message") or body.get("detail") or ""
        return " ".join(str(detail[0]["msg"] if isinstance(detail, list) else detail).split())[:160]
    except (HTTPError, ValueError, AttributeError, LookupError, TypeError):
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    return one_line(error).removeprefix("<").partition("): ")[2] or one_line(error)

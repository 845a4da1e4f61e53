"""HTTP requests over a bad network: each is repeated, after growing waits, until its response is whole."""

import functools
import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
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
from melascope.progress import Notify, quiet

T = TypeVar("T")

_TRIES = 8
_MAX_INVALID = 5  # a file that arrives whole but wrong this often is wrong
_FIRST_WAIT_S, _MAX_WAIT_S = 0.5, 30.0
_MAX_RETRY_AFTER_S = 300.0
_SHORT_WAIT_S, _NOTIFY_EVERY_S = 2.0, 10.0  # short waits are not worth a sentence
_BUSY = frozenset({408, 425, 429})
_HEADERS = {"User-Agent": f"melascope/{__version__}", "Accept-Encoding": "identity"}
_UNTRUSTED = "its certificate is not trusted; if a proxy has its own, name that certificate in SSL_CERT_FILE"
# Only redirects are left to urllib3: it cannot repeat a body.
_REDIRECTS = Retry(connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False)


class RefusedError(DataError):
    """The server refuses, and would refuse again.

    Attributes:
        status: such as 404.
        detail: the server's reason, one line; empty where it gives none.
    """

    def __init__(self, url: str, status: int, detail: str) -> None:
        super().__init__(
            f"{without_query(url)}: refused with status {status}{f' ({detail})' if detail else ''}"
        )
        self.status, self.detail = status, detail


class UnreachableError(DataError):
    """No whole response after all tries."""


class InvalidResponseError(Exception):
    """A response with the wrong content, such as a page in place of an image; worth another try."""


class StoppedError(Exception):
    """Another thread set `Client.stop`."""


class Client:
    """Open connections, shared by threads; uses the proxies and certificates of the environment.

    Args:
        connections: how many to keep open to each server.
        notify: called now and then with the reason and length of a wait.
        first_wait: seconds before the second try; each further wait is up to twice as long.
    """

    def __init__(
        self, connections: int = 1, notify: Notify = quiet, first_wait: float = _FIRST_WAIT_S
    ) -> None:
        self.stop = threading.Event()
        """Once set, it ends every wait and download with `StoppedError`."""
        self._notify, self._notified, self._first_wait = notify, 0.0, first_wait
        self._lock = threading.Lock()
        certificates = ssl.create_default_context()  # of the system, or of SSL_CERT_FILE
        certificates.load_verify_locations(certifi.where())  # not every Python finds those of the system
        self._pool = functools.cache(functools.partial(_pool, connections, certificates))

    def request(
        self,
        url: str,
        read: Callable[[BaseHTTPResponse], T],
        *,
        method: str = "GET",
        headers: Callable[[], Mapping[str, str]] = dict,
        tries: int = _TRIES,
    ) -> T:
        """Send a request until `read` accepts the response.

        Args:
            url: an address.
            read: reads a response, whose status is below 400; raises `InvalidResponseError` for another try.
            method: of HTTP.
            headers: returns additional headers; called before each try.
            tries: at most; a few `InvalidResponseError` end them earlier.

        Returns:
            What `read` returns.

        Raises:
            RefusedError: for a status that another try will not change.
            UnreachableError: if all tries failed, or the server asks for too long a wait.
            StoppedError: if another thread set `stop`.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"{url}: not a web address")
        pool = self._pool(parts.scheme, parts.hostname)
        invalid = 0
        for attempt in range(1, tries + 1):
            retry_after = 0.0
            if self.stop.is_set():
                raise StoppedError
            try:
                response = pool.request(
                    method,
                    url,
                    headers={**_HEADERS, **headers()},
                    retries=_REDIRECTS,
                    preload_content=False,
                    decode_content=False,
                )
                with closing(response):  # what was read to its end keeps its connection all the same
                    if response.status < 400:
                        return read(response)
                    reason = f"status {response.status}"
                    if response.status not in _BUSY and response.status < 500:
                        raise RefusedError(url, response.status, _detail(response))
                    retry_after = Retry().get_retry_after(response) or 0.0  # seconds, or a date
            except InvalidResponseError as error:
                invalid += 1
                reason = str(error)
            except HTTPError as error:
                reason = _reason(error)
                if "CERTIFICATE_VERIFY_FAILED" in reason:
                    raise UnreachableError(f"{without_query(url)}: {_UNTRUSTED}") from error
            if retry_after > _MAX_RETRY_AFTER_S:
                raise UnreachableError(
                    f"{without_query(url)}: busy, asks to come back in {retry_after:.0f} s"
                )
            if attempt == tries or invalid == _MAX_INVALID:
                break
            self._wait(attempt, retry_after, f"{without_query(url)}: {reason}")
        raise UnreachableError(f"{without_query(url)}: {reason}, {attempt} times")

    def json(self, url: str) -> Any:
        """The response as JSON."""

        def read(response: BaseHTTPResponse) -> Any:
            try:
                return json.loads(response.read(decode_content=True))
            except ValueError as error:
                raise InvalidResponseError("not JSON") from error

        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        return self.request(url, read, headers=lambda: headers)

    def size(self, url: str, tries: int = _TRIES) -> int | None:
        """Bytes of a file; None if the server does not say."""

        def read(response: BaseHTTPResponse) -> int | None:
            response.read()
            length = response.headers.get("Content-Length")
            return int(length) if length else None

        return self.request(url, read, method="HEAD", tries=tries)

    def _wait(self, attempt: int, retry_after: float, why: str) -> None:
        longest = min(_MAX_WAIT_S, self._first_wait * 2 ** (attempt - 1))
        wait = max(longest * random.uniform(0.5, 1), retry_after)  # noqa: S311
        now = time.monotonic()
        with self._lock:
            due = wait > _SHORT_WAIT_S and now - self._notified > _NOTIFY_EVERY_S
            self._notified = now if due else self._notified
        if due:
            self._notify(f"{why}; next try in {wait:.0f} s")
        if self.stop.wait(wait):
            raise StoppedError


def without_query(url: str) -> str:
    """An address without its query, which may hold a signature and is of no use to a reader."""
    return url.partition("?")[0]


def _pool(connections: int, certificates: ssl.SSLContext, scheme: str, host: str) -> urllib3.PoolManager:
    proxy = None if proxy_bypass(host) else getproxies().get(scheme)
    options: dict[str, Any] = {
        "maxsize": connections,
        "timeout": Timeout(connect=10, read=30),
        "ssl_context": certificates,
    }
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def _detail(response: BaseHTTPResponse) -> str:
    """The reason in an error's JSON: `{"message": ...}`, `{"detail": "..."}` or `{"detail": [{"msg": ...}]}`."""
    try:
        body = json.loads(response.read(2**16, decode_content=True))
        detail = body.get("message") or body.get("detail") or ""
        return " ".join(str(detail[0]["msg"] if isinstance(detail, list) else detail).split())[:160]
    except (HTTPError, ValueError, AttributeError, LookupError, TypeError):
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    return one_line(error).removeprefix("<").partition("): ")[2] or one_line(error)

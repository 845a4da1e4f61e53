"""Large files, gone on with where they stopped, as long as the server still has the same file."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope.errors import DataError
from melascope.fetch.client import Client, RefusedError, UnreachableError, UnsoundError
from melascope.fetch.folder import PART, free_bytes, in_words, put
from melascope.progress import Progress, silent

_CHUNK = 2**20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class _Seen:
    """What the server said of the file that a part belongs to."""

    url: str
    validator: str | None
    """A strong ETag or else a date, for `If-Range`."""
    total: int | None


class Resumed:
    """One file that is brought, in one go or in several.

    Args:
        client: asks for it.
        part: where it grows; what is known of it lies beside.
        progress: called with (what, done, total).
        say: hears a sentence where the server cannot go on with a file.
    """

    def __init__(
        self,
        client: Client,
        part: Path,
        progress: Progress = silent,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client, self._part, self._progress, self._say = client, part, progress, say
        self._beside = part.with_name(f"{part.name}.json")
        self._name = part.name.removesuffix(PART)

    def bring(self, urls: Sequence[str]) -> str:
        """Bring the file from the first of some addresses that has it.

        Returns:
            The address it came from. The part is then whole; `put` gives it its place.

        Raises:
            RefusedError: if no address gives it: the refusal of the first.
            UnreachableError: if no address answers: the reason of the first.
            DataError: if the disk is full.
        """
        first: RefusedError | UnreachableError | None = None
        for url in urls:
            try:
                self._bring(url)
            except (RefusedError, UnreachableError) as error:
                first = first or error
            else:
                return url
        raise first or DataError(f"{self._name}: no address")

    def put(self, path: Path) -> None:
        """Give the whole file its place.

        Raises:
            DataError: if it cannot be written there.
        """
        put(self._part, path)
        self._beside.unlink(missing_ok=True)

    def drop(self) -> None:
        """Throw away what is here."""
        self._part.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)

    def _bring(self, url: str) -> None:
        while True:
            before = self._have()
            try:
                self._client.ask(url, lambda answer: self._take(answer, url), headers=lambda: self._from(url))
            except RefusedError as error:
                if error.status != 416 or not before:
                    raise
                if self._whole():
                    return
                self.drop()  # the server's file is shorter: another one
            except UnreachableError:
                if self._have() <= before:
                    raise  # else it got further, and may again
            else:
                return

    def _from(self, url: str) -> Mapping[str, str]:
        seen, have = self._seen(), self._have()
        if not have or seen is None or seen.url != url or not (seen.validator and seen.total):
            self.drop()
            return {}
        return {"Range": f"bytes={have}-", "If-Range": seen.validator}

    def _take(self, answer: BaseHTTPResponse, url: str) -> None:
        have = 0
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            have, seen = self._have(), self._seen()
            if not found or int(found[1]) != have or seen is None or found[2] not in ("*", str(seen.total)):
                self.drop()
                raise UnsoundError("another range than was asked for")
            total = seen.total
        else:
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
            seen = _Seen(url, _validator(answer), total)
            if seen.validator is None or total is None:
                self._say(f"{self._name}: the server cannot go on with this file; if stopped, it starts anew")
            self._beside.write_text(json.dumps(asdict(seen)))
            if total is not None and total > free_bytes(self._part.parent):
                raise DataError(f"{self._part}: {in_words(total)} are to come, and the disk has less free")
        self._write(answer, have, total)

    def _write(self, answer: BaseHTTPResponse, have: int, total: int | None) -> None:
        what = f"{self._name}, MB"
        try:
            with open(self._part, "r+b" if have else "wb") as file:
                file.seek(have)
                for chunk in answer.stream(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    self._progress(what, have // 10**6, (total or have) // 10**6)
        except OSError as error:
            raise DataError(f"{self._part}: cannot be written ({error.strerror or error})") from error
        if total is not None and have != total:
            raise UnsoundError(f"{have} bytes in place of {total}")

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _seen(self) -> _Seen | None:
        try:
            return _Seen(**json.loads(self._beside.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _whole(self) -> bool:
        seen = self._seen()
        return seen is not None and self._have() == seen.total


def _validator(answer: BaseHTTPResponse) -> str | None:
    if "bytes" not in answer.headers.get("Accept-Ranges", ""):
        return None
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")

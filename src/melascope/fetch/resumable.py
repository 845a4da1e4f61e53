"""Downloads of large files that resume where they stopped, as long as the server still has the same file."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope.errors import DataError
from melascope.fetch.client import Client, InvalidResponseError, RefusedError, UnreachableError
from melascope.fetch.folder import PART, move, require_space
from melascope.progress import Notify, Progress, quiet, silent

_CHUNK_BYTES = 2**20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class _Source:
    """What the server said about the file that a part belongs to."""

    url: str
    validator: str | None
    """For `If-Range`: a strong ETag, else a date."""
    total: int | None
    """Bytes of the whole file."""


class ResumableDownload:
    """One file, downloaded in one go or in several.

    Args:
        client: sends the requests.
        part: where the file grows; a JSON file beside it describes its source.
        progress: called with (what, done, total).
        notify: called if the server cannot resume the file.
    """

    def __init__(
        self, client: Client, part: Path, progress: Progress = silent, notify: Notify = quiet
    ) -> None:
        self._client, self._part, self._progress, self._notify = client, part, progress, notify
        self._beside = part.with_name(f"{part.name}.json")
        self._name = part.name.removesuffix(PART)

    def download(self, urls: Sequence[str]) -> str:
        """Download the file from the first address that gives it.

        Returns:
            That address. The part is then whole; `move_to` gives it its place.

        Raises:
            RefusedError: if no address gives it: the refusal of the first.
            UnreachableError: if no address responds: the reason of the first.
            DataError: if the disk is full.
        """
        first: RefusedError | UnreachableError | None = None
        for url in urls:
            try:
                self._download(url)
            except (RefusedError, UnreachableError) as error:
                first = first or error
            else:
                return url
        raise first or DataError(f"{self._name}: no address")

    def move_to(self, path: Path) -> None:
        """Give the whole file its place.

        Raises:
            DataError: if it cannot be written there.
        """
        move(self._part, path)
        self._beside.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the part."""
        self._part.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)

    def _download(self, url: str) -> None:
        while True:
            before = self._size()
            try:
                self._client.request(
                    url, lambda response: self._receive(response, url), headers=lambda: self._range(url)
                )
            except RefusedError as error:
                if error.status != 416 or not before:
                    raise
                source = self._source()
                if source and source.total == before:
                    return
                self.discard()  # the server's file is shorter: another one
            except UnreachableError:
                if self._size() <= before:
                    raise  # else it got further, and may again
            else:
                return

    def _range(self, url: str) -> Mapping[str, str]:
        source, size = self._source(), self._size()
        if not size or source is None or source.url != url or not (source.validator and source.total):
            self.discard()
            return {}
        return {"Range": f"bytes={size}-", "If-Range": source.validator}

    def _receive(self, response: BaseHTTPResponse, url: str) -> None:
        if response.status == 206:
            match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            start, source = self._size(), self._source()
            if not match or int(match[1]) != start or not source or match[2] not in ("*", str(source.total)):
                self.discard()
                raise InvalidResponseError("not the requested range")
        else:
            length = response.headers.get("Content-Length")
            start, source = 0, _Source(url, _validator(response), int(length) if length else None)
            if source.validator is None or source.total is None:
                self._notify(
                    f"{self._name}: this server cannot resume a file; if stopped, the download starts over"
                )
            self._beside.write_text(json.dumps(asdict(source)))
            require_space(self._part, source.total or 0)
        self._write(response, start, source.total)

    def _write(self, response: BaseHTTPResponse, size: int, total: int | None) -> None:
        try:
            with open(self._part, "r+b" if size else "wb") as file:
                file.seek(size)
                for chunk in response.stream(_CHUNK_BYTES):
                    file.write(chunk)
                    size += len(chunk)
                    self._progress(f"{self._name}, MB", size // 10**6, (total or size) // 10**6)
        except OSError as error:
            raise DataError(f"{self._part}: cannot be written ({error.strerror or error})") from error
        if total is not None and size != total:
            raise InvalidResponseError(f"{size} bytes in place of {total}")

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _source(self) -> _Source | None:
        try:
            return _Source(**json.loads(self._beside.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def _validator(response: BaseHTTPResponse) -> str | None:
    if "bytes" not in response.headers.get("Accept-Ranges", ""):
        return None
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")

"""Files out of a multipart request, into memory and nowhere else.

The form parsers of web frameworks spill what is large into temporary files. An image of a patient must not lie on a
disk, so this one keeps it in memory, within limits that hold while it arrives.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from melascope.web.errors import RequestError, busy
from melascope.web.limits import Limits

FIELD = "files"
_LONGEST_NAME = 120
_ESCAPED = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))  # what browsers write for these in a name


@dataclass
class Upload:
    """A file as it was sent."""

    name: str
    data: bytes


class MemoryBudget:
    """Bytes that all requests together may hold in memory."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def open(self) -> Iterator["Reservation"]:
        """What one request holds, given back at the end."""
        reservation = Reservation()
        try:
            yield reservation
        finally:
            self._left += reservation.held

    def take(self, reservation: "Reservation", count: int) -> None:
        """Hold more.

        Raises:
            RequestError: if all requests together would hold too much.
        """
        if count > self._left:
            raise busy("too many images at once")
        self._left -= count
        reservation.held += count


@dataclass
class Reservation:
    """What one request holds."""

    held: int = 0


@dataclass
class _Part:
    disposition: dict[bytes, bytes] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class _Reader:
    """Keeps the parts named `files` while a parser runs over the request."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self.uploads: list[Upload] = []
        self.whole = False
        self._limits = limits
        self._part = _Part()
        self._header = [b"", b""]
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._named,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def _begin(self) -> None:
        self._part = _Part()

    def _add(self, which: int, text: bytes) -> None:
        self._header[which] += text

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            self._part.disposition = parse_options_header(value)[1]

    def _named(self) -> None:
        name = self._part.disposition.get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            raise RequestError(422, f"a part named {name[:40]!r}; name each part {FIELD!r}")
        if b"filename" not in self._part.disposition:
            raise RequestError(422, f"a part named {FIELD!r} that is no file: it has no file name")
        if len(self.uploads) == self._limits.files:
            raise RequestError(422, f"more than {self._limits.files} files; send them in several requests")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._part.size += end - start
        if self._part.size > self._limits.file_bytes:
            raise RequestError(413, f"a file larger than {self._limits.file_bytes // 2**20} MiB")
        self._part.chunks.append(data[start:end])

    def _end(self) -> None:
        sent = self._part.disposition[b"filename"].decode("utf-8", "replace")
        name = plain_name(sent) or f"image-{len(self.uploads) + 1}"
        self.uploads.append(Upload(name, b"".join(self._part.chunks)))
        self._part = _Part()

    def _finish(self) -> None:
        self.whole = True


async def receive(
    stream: AsyncIterator[bytes],
    content_type: str,
    limits: Limits,
    budget: MemoryBudget,
    reservation: Reservation,
) -> list[Upload]:
    """Read the files of a `multipart/form-data` request.

    Args:
        stream: the request's body as it arrives.
        content_type: the request's header.
        limits: of the server.
        budget: of all requests.
        reservation: what this request holds of it.

    Raises:
        RequestError: if it is no such request, too large, or too slow.
    """
    kind, options = parse_options_header(content_type.encode("latin-1"))
    if kind.lower() != b"multipart/form-data":
        raise RequestError(415, f"send multipart/form-data with a part named {FIELD!r} for each image")
    if not options.get(b"boundary"):
        raise RequestError(400, "Content-Type lacks the boundary of the multipart request")
    try:
        reader = _Reader(options[b"boundary"], limits)
        async with asyncio.timeout(limits.patience_s):
            async for chunk in stream:
                budget.take(reservation, len(chunk))
                if reservation.held > limits.request_bytes:
                    raise RequestError(
                        413, f"more than {limits.request_bytes // 2**20} MiB; send fewer files at once"
                    )
                reader.parser.write(chunk)
    except FormParserError as error:
        raise RequestError(400, "not a well-formed multipart request") from error
    except ClientDisconnect as error:
        raise RequestError(400, "the client left") from error
    except TimeoutError as error:
        raise RequestError(408, f"the request took longer than {limits.patience_s:g} s to arrive") from error
    if not reader.whole:
        raise RequestError(400, "the multipart request ends before its last boundary")
    if not reader.uploads:
        raise RequestError(422, f"no file; send at least one part named {FIELD!r}")
    return reader.uploads


def plain_name(sent: str) -> str:
    """A file's name without folders, without what could move a cursor, and not too long; its end is kept."""
    for escape, character in _ESCAPED:
        sent = sent.replace(escape, character)
    name = sent.replace("\\", "/").rpartition("/")[2]
    return "".join(c if c.isprintable() else "?" for c in name)[-_LONGEST_NAME:]

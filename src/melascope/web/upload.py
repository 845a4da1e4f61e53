"""Files out of a multipart request, into memory and nowhere else: an image of a patient must not lie on a disk."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from melascope.errors import printable
from melascope.web.errors import RequestError, busy
from melascope.web.limits import Limits

FIELD = "files"
_MAX_NAME = 120  # characters
_ESCAPED = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))  # what browsers write for these in a name


@dataclass
class Upload:
    """A file as it was sent."""

    name: str
    data: bytes


class MemoryBudget:
    """Bytes that all requests together may hold in memory."""

    def __init__(self, size: int) -> None:
        self.left = size

    @contextmanager
    def reserve(self) -> Iterator["Reservation"]:
        """What one request holds, given back at the end."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.left += reservation.held


@dataclass
class Reservation:
    """The part of a budget that one request holds."""

    budget: MemoryBudget
    held: int = 0

    def grow(self, count: int) -> None:
        """Hold more.

        Raises:
            RequestError: if all requests together would hold too much.
        """
        if count > self.budget.left:
            raise busy("too many images at once")
        self.budget.left -= count
        self.held += count


class _Parser(MultiPartParser):
    """Starlette's parser with limits for files, and without its temporary files."""

    spool_max_size = 0  # no size at which a file moves to the disk

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], limits: Limits) -> None:
        super().__init__(headers, stream)
        self.complete = False
        self._limits = limits
        self._parts = self._size = 0

    def on_part_begin(self) -> None:
        self._parts += 1
        self._size = 0
        if self._parts > self._limits.files:
            raise RequestError(422, f"more than {self._limits.files} files; send them in several requests")
        super().on_part_begin()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._limits.file_bytes:
            raise RequestError(413, f"a file larger than {self._limits.file_bytes // 2**20} MiB")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        self.complete = True


async def receive(request: Request, limits: Limits, reservation: Reservation) -> list[Upload]:
    """Read the files of a `multipart/form-data` request.

    Args:
        request: whose body is still to be read.
        limits: of the server.
        reservation: grows by each byte that arrives.

    Raises:
        RequestError: if the request is malformed, too large or too slow.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", "").encode("latin-1"))
    if kind.lower() != b"multipart/form-data":
        raise RequestError(415, f"send multipart/form-data with a part named {FIELD!r} for each image")

    async def counted() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            reservation.grow(len(chunk))
            if reservation.held > limits.request_bytes:
                raise RequestError(
                    413, f"more than {limits.request_bytes // 2**20} MiB; send fewer files at once"
                )
            yield chunk

    parser = _Parser(request.headers, counted(), limits)
    try:
        async with asyncio.timeout(limits.patience_s):
            form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:  # the latter for a charset that decodes no text
        raise RequestError(400, "not a well-formed multipart request") from error
    except ClientDisconnect as error:
        raise RequestError(400, "the client closed the connection") from error
    except TimeoutError as error:
        raise RequestError(408, f"the request took longer than {limits.patience_s:g} s to arrive") from error
    if not parser.complete:
        raise RequestError(400, "the multipart request ends before its last boundary")
    uploads = [
        await _upload(name, part, number) for number, (name, part) in enumerate(form.multi_items(), start=1)
    ]
    if not uploads:
        raise RequestError(422, f"no file; send at least one part named {FIELD!r}")
    return uploads


async def _upload(name: str, part: UploadFile | str, number: int) -> Upload:
    if name != FIELD:
        raise RequestError(422, f"a part named {name[:40]!r}; name each part {FIELD!r}")
    if isinstance(part, str):
        raise RequestError(422, f"a part named {FIELD!r} without a file name")
    data = await part.read()
    await part.close()
    return Upload(plain_name(part.filename or "") or f"image-{number}", data)


def plain_name(sent: str) -> str:
    """A file's name without folders and control characters; of a long name, the end."""
    for escape, character in _ESCAPED:
        sent = sent.replace(escape, character)
    return printable(sent.replace("\\", "/").rpartition("/")[2])[-_MAX_NAME:]

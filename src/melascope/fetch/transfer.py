"""Image transfers side by side: each image whole, verified and in its place, or listed as failed."""

import hashlib
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope import files, images
from melascope.errors import DataError, ImageError
from melascope.fetch.archive import Archive, Entry, file_name
from melascope.fetch.client import RefusedError, UnreachableError, UnsoundError, bare
from melascope.fetch.folder import put
from melascope.fetch.ledger import Ledger, Row
from melascope.progress import Progress, silent

JOBS = 32
_CHUNK = 2**17
_SUFFIXES = (".jpg", ".png", ".tif")  # where the listing does not tell
_HOPELESS = 3  # times as many failures in a row as transfers at once: the network is gone


class Transfers:
    """What the threads share.

    Args:
        archive: where images are from.
        folder: the raw folder.
        scratch: a folder on the same disk for what is not whole yet.
        ledger: of the raw folder.
        jobs: transfers at once.
    """

    def __init__(
        self, archive: Archive, folder: Path, scratch: Path, ledger: Ledger, jobs: int = JOBS
    ) -> None:
        self._archive, self._folder, self._scratch, self._ledger = archive, folder, scratch, ledger
        self._jobs = jobs
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)  # decoded images take much memory

    def run(self, entries: Iterable[Entry], total: int, tell: Progress = silent) -> Iterator[Row]:
        """Bring the images; gives a row for each that failed.

        Raises:
            DataError: if a file cannot be written, or nothing comes any more.
        """
        slots = threading.Semaphore(2 * self._jobs)  # bounds what waits in memory
        answers: queue.SimpleQueue[tuple[Row, bool] | BaseException] = queue.SimpleQueue()

        def work(entry: Entry) -> None:
            try:
                answers.put(self._bring(entry))
            except BaseException as error:  # raised again where the answers are read
                answers.put(error)
            finally:
                slots.release()

        given = done = in_a_row = 0
        remaining = iter(entries)
        entry = next(remaining, None)
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                while entry is not None or done < given:
                    while entry is not None and slots.acquire(blocking=done == given):
                        pool.submit(work, entry)
                        given += 1
                        entry = next(remaining, None)
                    answer = answers.get()
                    done += 1
                    tell("images", done, total)
                    if isinstance(answer, BaseException):
                        raise answer
                    row, unreachable = answer
                    in_a_row = in_a_row + 1 if unreachable else 0
                    if row.state == "failed":
                        yield row
                    if in_a_row == _HOPELESS * self._jobs:
                        raise UnreachableError(
                            f"{row.reason}; so did the {in_a_row - 1} before; try again later"
                        )
            except BaseException:
                self._archive.client.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _bring(self, entry: Entry) -> tuple[Row, bool]:
        """What became of an image, and whether its server could not be reached."""
        name = file_name(entry)
        for known in (name,) if entry.url else (f"{entry.isic_id}{suffix}" for suffix in _SUFFIXES):
            if self._ledger.has(known, entry.size):
                return Row(known, "", "done"), False
        address, unreachable = self._archive.image_address(entry), False
        try:
            row = self._found(entry, name, address) or self._transferred(entry, name, address)
        except (RefusedError, UnreachableError) as error:
            row = Row(name, bare(address), "failed", reason=str(error))
            unreachable = isinstance(error, UnreachableError)
        self._ledger.add(row)
        return row, unreachable

    def _found(self, entry: Entry, name: str, address: str) -> Row | None:
        """A file that lies there already, as the official command leaves it: taken if it is whole."""
        path = self._folder / name
        if not path.is_file():
            return None
        try:
            size = entry.size or self._archive.client.ask(address, _length, method="HEAD")
            if path.stat().st_size != size:
                return None
            self._look_at(path)
        except (RefusedError, ImageError):
            return None
        return Row(name, bare(address), "done", size, files.sha256(path))

    def _transferred(self, entry: Entry, name: str, address: str) -> Row:
        try:
            return self._get(name, address, entry.size)
        except (RefusedError, UnreachableError) as error:
            # A signed address lives for days only, a size may be an older file's: the archive tells what holds now.
            try:
                now = self._archive.entry(entry.isic_id)
            except (RefusedError, UnreachableError):
                raise error from None
            fresh = self._archive.image_address(now)
            if (fresh, now.size) == (address, entry.size):
                raise
            return self._get(file_name(now), fresh, now.size)

    def _get(self, name: str, address: str, size: int | None) -> Row:
        part = self._scratch / name

        def save(answer: BaseHTTPResponse) -> tuple[int, str]:
            length, sha256 = _save(answer, part)
            if size is not None and length != size:
                raise UnsoundError(_what_came(part) or f"{length} bytes in place of {size}")
            try:
                self._look_at(part)
            except ImageError as error:
                raise UnsoundError(_what_came(part) or error.reason) from error
            return length, sha256

        try:
            length, sha256 = self._archive.client.ask(address, save)
            put(part, self._folder / name)
        finally:
            part.unlink(missing_ok=True)
        return Row(name, bare(address), "done", length, sha256)

    def _look_at(self, path: Path) -> None:
        with self._decoding:
            images.decode(files.read(str(path)), path.name, at_least=images.MIN_SIDE)


def _save(answer: BaseHTTPResponse, part: Path) -> tuple[int, str]:
    """Write a body to a file; gives its length and SHA-256."""
    sha256, length = hashlib.sha256(), 0
    try:
        with open(part, "wb") as file:
            for chunk in answer.stream(_CHUNK):
                file.write(chunk)
                sha256.update(chunk)
                length += len(chunk)
                if length > files.MAX_BYTES:
                    raise UnsoundError(f"larger than {files.MAX_BYTES // 2**20} MiB")
    except OSError as error:
        raise DataError(f"{part}: cannot be written ({error.strerror or error})") from error
    return length, sha256.hexdigest()


def _length(answer: BaseHTTPResponse) -> int:
    answer.read()
    return int(answer.headers.get("Content-Length", -1))


def _what_came(part: Path) -> str | None:
    with open(part, "rb") as file:
        return "a web page in place of an image" if file.read(64).lstrip().startswith(b"<") else None

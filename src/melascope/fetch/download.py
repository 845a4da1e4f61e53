"""Image transfers side by side: each image whole, verified and in its place, or listed as failed."""

import hashlib
import os
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope import files, images
from melascope.errors import DataError, ImageError
from melascope.fetch.client import RefusedError, UnreachableError, UnsoundError, bare
from melascope.fetch.folder import put
from melascope.fetch.isic_api import Archive, Entry, file_name
from melascope.fetch.ledger import Ledger, Row
from melascope.progress import Progress, silent

JOBS = 32
_CHUNK = 2**20  # most images are no larger, and so never read back
_TELLING_S = 0.1  # between two words about progress
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
        self._decoders: queue.SimpleQueue[None] = queue.SimpleQueue()  # a semaphore, several times faster
        for _ in range(os.cpu_count() or 1):  # since some images take much memory
            self._decoders.put(None)

    def run(self, entries: Iterable[Entry], total: int, progress: Progress = silent) -> list[Row]:
        """Bring the images; gives a row for each that failed.

        Raises:
            DataError: if a file cannot be written, or nothing comes any more.
        """
        remaining, stop = iter(entries), self._archive.client.stop
        turn = threading.Lock()
        failed: list[Row] = []
        done = in_a_row = 0

        def work() -> None:
            nonlocal done, in_a_row
            while not stop.is_set():
                with turn:
                    entry = next(remaining, None)
                if entry is None:
                    return
                row, unreachable = self._bring(entry)
                with turn:
                    done += 1
                    in_a_row = in_a_row + 1 if unreachable else 0
                    if row.state == "failed":
                        failed.append(row)
                    if in_a_row == _HOPELESS * self._jobs:
                        raise UnreachableError(
                            f"{row.reason}; so did the {in_a_row - 1} before; try again later"
                        )

        with ThreadPoolExecutor(self._jobs) as pool:
            running = {pool.submit(work) for _ in range(self._jobs)}
            try:
                while running:
                    ended, running = wait(running, _TELLING_S, FIRST_EXCEPTION)
                    progress("images", done, total)
                    for worker in ended:
                        worker.result()
            except BaseException:
                stop.set()
                raise
        return failed

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
            length, sha256, data = _save(answer, part)
            if size is not None and length != size:
                raise UnsoundError(_what_came(part) or f"{length} bytes in place of {size}")
            try:
                self._look_at(part, data)
            except ImageError as error:
                raise UnsoundError(_what_came(part) or error.reason) from error
            return length, sha256

        try:
            length, sha256 = self._archive.client.ask(address, save)
            put(part, self._folder / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return Row(name, bare(address), "done", length, sha256)

    def _look_at(self, path: Path, data: bytes | None = None) -> None:
        self._decoders.get()
        try:
            data = files.read(str(path)) if data is None else data
            images.check(data, path.name)
        finally:
            self._decoders.put(None)


def _save(answer: BaseHTTPResponse, part: Path) -> tuple[int, str, bytes | None]:
    """Write a body to a file; gives its length, its SHA-256 and, unless it is large, itself."""
    sha256, length, chunk = hashlib.sha256(), 0, b""
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
    return length, sha256.hexdigest(), chunk if length == len(chunk) else None


def _length(answer: BaseHTTPResponse) -> int:
    answer.read()
    return int(answer.headers.get("Content-Length", -1))


def _what_came(part: Path) -> str | None:
    with open(part, "rb") as file:
        return "a web page in place of an image" if file.read(64).lstrip().startswith(b"<") else None

"""Parallel downloads of images: each ends up whole, verified and in its place, or is reported as failed."""

import hashlib
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope import files, images
from melascope.errors import DataError, ImageError
from melascope.fetch.client import InvalidResponseError, RefusedError, UnreachableError, without_query
from melascope.fetch.folder import RawFolder, move
from melascope.fetch.isic_api import Archive, Entry, file_name
from melascope.fetch.ledger import Row
from melascope.progress import Progress, silent

JOBS = 32
_CHUNK_BYTES = 2**20  # most images are no larger, and so need not be read again
_REPORT_EVERY_S = 0.1
_MAX_FAILURES_PER_JOB = 3  # in a row; after more, the network is gone


class Downloads:
    """Downloads of images into one raw folder.

    Args:
        archive: the images' origin.
        folder: the raw folder.
        jobs: downloads at once.
    """

    def __init__(self, archive: Archive, folder: RawFolder, jobs: int = JOBS) -> None:
        self._archive, self._folder, self._jobs = archive, folder, jobs
        self._decoders: queue.SimpleQueue[None] = queue.SimpleQueue()  # a semaphore, several times faster
        for _ in range(images.CORES):  # no more, as some images take much memory
            self._decoders.put(None)

    def run(self, entries: Iterable[Entry], total: int, progress: Progress = silent) -> list[Row]:
        """Download the images.

        Args:
            entries: of the images.
            total: how many they are.
            progress: called with (what, done, total).

        Returns:
            A row for each image that failed.

        Raises:
            DataError: if a file cannot be written, or the network is gone.
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
                row, unreachable = self._one(entry)
                with turn:
                    done += 1
                    in_a_row = in_a_row + 1 if unreachable else 0
                    if row.state == "failed":
                        failed.append(row)
                    if in_a_row == _MAX_FAILURES_PER_JOB * self._jobs:
                        raise UnreachableError(
                            f"{row.reason}; {in_a_row} images in a row failed; try again later"
                        )

        with ThreadPoolExecutor(self._jobs) as pool:
            running = {pool.submit(work) for _ in range(self._jobs)}
            try:
                while running:
                    ended, running = wait(running, _REPORT_EVERY_S, FIRST_EXCEPTION)
                    progress("images", done, total)
                    for worker in ended:
                        worker.result()
            except BaseException:
                stop.set()
                raise
        return failed

    def _one(self, entry: Entry) -> tuple[Row, bool]:
        """The row of one image, and whether its server could not be reached."""
        name = file_name(entry)
        if self._folder.ledger.has(name, entry.size):
            return Row(name, "", "done"), False
        address, unreachable = self._archive.image_address(entry), False
        try:
            row = self._existing(entry, name, address) or self._downloaded(entry, name, address)
        except (RefusedError, UnreachableError) as error:
            row = Row(name, without_query(address), "failed", reason=str(error))
            unreachable = isinstance(error, UnreachableError)
        self._folder.ledger.add(row)
        return row, unreachable

    def _existing(self, entry: Entry, name: str, address: str) -> Row | None:
        """The row of a whole file that is there already, such as from the official command."""
        path = self._folder.path / name
        if not path.is_file():
            return None
        try:
            size = entry.size or self._archive.client.size(address)
            if path.stat().st_size != size:
                return None
            self._check(path)
        except (RefusedError, ImageError):
            return None
        return Row(name, without_query(address), "done", size, files.sha256(path))

    def _downloaded(self, entry: Entry, name: str, address: str) -> Row:
        try:
            return self._get(name, address, entry.size)
        except (RefusedError, UnreachableError) as error:
            # A signed address expires after days, and a listed size may be out of date: the archive has today's.
            try:
                now = self._archive.entry(entry.isic_id)
            except (RefusedError, UnreachableError):
                raise error from None
            fresh = self._archive.image_address(now)
            if (fresh, now.size) == (address, entry.size):
                raise
            return self._get(file_name(now), fresh, now.size)

    def _get(self, name: str, address: str, size: int | None) -> Row:
        part = self._folder.scratch / name

        def save(response: BaseHTTPResponse) -> tuple[int, str]:
            length, sha256, data = _save(response, part)
            if size is not None and length != size:
                raise InvalidResponseError(_web_page(part) or f"{length} bytes in place of {size}")
            try:
                self._check(part, data)
            except ImageError as error:
                raise InvalidResponseError(_web_page(part) or error.reason) from error
            return length, sha256

        try:
            length, sha256 = self._archive.client.request(address, save)
            move(part, self._folder.path / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return Row(name, without_query(address), "done", length, sha256)

    def _check(self, path: Path, data: bytes | None = None) -> None:
        self._decoders.get()
        try:
            data = files.read(str(path)) if data is None else data
            images.check(data, path.name)
        finally:
            self._decoders.put(None)


def _save(response: BaseHTTPResponse, part: Path) -> tuple[int, str, bytes | None]:
    """Write a body to a file; returns its length, its SHA-256 and, unless it is large, the body."""
    sha256, length, chunk = hashlib.sha256(), 0, b""
    try:
        with open(part, "wb") as file:
            for chunk in response.stream(_CHUNK_BYTES):
                file.write(chunk)
                sha256.update(chunk)
                length += len(chunk)
                if length > files.MAX_BYTES:
                    raise InvalidResponseError(f"larger than {files.MAX_BYTES // 2**20} MiB")
    except OSError as error:
        raise DataError(f"{part}: cannot be written ({error.strerror or error})") from error
    return length, sha256.hexdigest(), chunk if length == len(chunk) else None


def _web_page(part: Path) -> str | None:
    with open(part, "rb") as file:
        return "a web page in place of an image" if file.read(64).lstrip().startswith(b"<") else None

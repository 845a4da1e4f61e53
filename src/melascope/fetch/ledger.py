"""`ledger.jsonl`: what happened to each file of a raw folder, one JSON object a line, only ever added to.

The last line about a file counts; a line that a kill tore is passed over. When all is done, one line a file is
left, sorted by path, so that the same files leave the same ledger.
"""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from melascope import files
from melascope.errors import DataError

NAME = "ledger.jsonl"


@dataclass(frozen=True)
class Row:
    """One event: a file was got, was there already, or failed."""

    path: str
    """Inside the raw folder, with forward slashes."""
    address: str
    """Where it is from: an address, or `ARCHIVE.zip::MEMBER`."""
    state: Literal["done", "failed", "unpacked"]
    """`unpacked` is a ZIP that was got, and of which its files are left."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    reason: str | None = None
    """Why it failed."""
    members: int | None = None
    """Files that came out of a ZIP."""


class Ledger:
    """The ledger of one folder; threads may share it. It holds no row in memory, only where each file's last lies."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self.path = self._folder / NAME
        self._lock = threading.Lock()
        self._where: dict[str, int] = {}
        self._file = self._open()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Add an event."""
        told = {name: value for name, value in vars(row).items() if value is not None}
        line = json.dumps(told, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._where[row.path] = self._end
            self._file.write(line)
            self._file.flush()
            self._end += len(line)

    def last(self, path: str) -> Row | None:
        """The last event of a file, if there was any."""
        if path not in self._where:  # most files of a fetch: asked without waiting for whoever writes
            return None
        with self._lock:
            self._file.seek(self._where[path])
            return _row(self._file.readline())

    def has(self, path: str, size: int | None = None) -> bool:
        """Whether a file was got whole and still lies there in its size, and in `size` if that is known."""
        row = self.last(path)
        if row is None or row.state != "done" or (size is not None and row.size != size):
            return False
        try:
            return os.stat(self._folder / path).st_size == row.size
        except OSError:
            return False

    def count(self, folder: str) -> int:
        """How many files of a folder were got whole and still lie there."""
        with self._lock:
            paths = [path for path in self._where if path.startswith(f"{folder}/")]
        return sum(map(self.has, paths))

    def settle(self) -> None:
        """Leave the last row of each file, sorted by path."""
        with self._lock, files.replacing(self.path) as beside:
            with open(beside, "wb") as out:
                for path in sorted(self._where):
                    self._file.seek(self._where[path])
                    out.write(self._file.readline())
            self._file.close()
        self._where.clear()
        self._file = self._open()

    def _open(self) -> IO[bytes]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+b")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error
        file.seek(0)
        end = 0
        while line := file.readline():
            if line.endswith(b"\n") and (row := _row(line)):
                self._where[row.path] = end
            end += len(line)
        if end and not _ends_a_line(file):
            file.write(b"\n")  # what a kill tore stays a line of its own, and is passed over
            file.flush()
            end += 1
        self._end = end
        return file


def _ends_a_line(file: IO[bytes]) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _row(line: bytes) -> Row | None:
    try:
        return Row(**json.loads(line))
    except (ValueError, TypeError):
        return None

"""`ledger.jsonl`: what happened to each file of a raw folder, one JSON object a line.

Lines are only added, and the last line about a file counts. Half a line, which a killed process leaves, is ignored.
A complete fetch leaves one line a file, sorted by path, so that equal files have equal ledgers.
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
    """One event: a file was downloaded, was there already, or failed."""

    path: str
    """Inside the raw folder, with forward slashes."""
    address: str
    """Its origin: an address, or `ARCHIVE.zip::MEMBER`."""
    state: Literal["done", "failed", "unpacked"]
    """`unpacked`: a ZIP that was downloaded and unpacked, and whose files remain."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    reason: str | None = None
    """Why it failed."""
    members: int | None = None
    """Files that came out of a ZIP."""


class Ledger:
    """The ledger of one folder; threads may share it. Memory holds the position of each file's last row, but no row."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self.path = self._folder / NAME
        self._lock = threading.Lock()
        self._positions: dict[str, int] = {}
        self._file = self._open()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Add an event."""
        fields = {name: value for name, value in vars(row).items() if value is not None}
        line = json.dumps(fields, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._positions[row.path] = self._end
            self._file.write(line)
            self._file.flush()
            self._end += len(line)

    def last(self, path: str) -> Row | None:
        """The last event of a file, if any."""
        if path not in self._positions:  # true of most files, and needs no lock
            return None
        with self._lock:
            self._file.seek(self._positions[path])
            return _row(self._file.readline())

    def has(self, path: str, size: int | None = None) -> bool:
        """Whether a whole file was recorded and is still there in its size, which is `size` if that is known."""
        row = self.last(path)
        if row is None or row.state != "done" or (size is not None and row.size != size):
            return False
        try:
            return os.stat(self._folder / path).st_size == row.size
        except OSError:
            return False

    def count(self, folder: str) -> int:
        """How many whole files of a folder were recorded and are still there."""
        with self._lock:
            paths = [path for path in self._positions if path.startswith(f"{folder}/")]
        return sum(map(self.has, paths))

    def compact(self) -> None:
        """Keep only the last row of each file, sorted by path."""
        with self._lock, files.replacing(self.path) as beside:
            with open(beside, "wb") as out:
                for path in sorted(self._positions):
                    self._file.seek(self._positions[path])
                    out.write(self._file.readline())
            self._file.close()
        self._positions.clear()
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
                self._positions[row.path] = end
            end += len(line)
        if end and not _ends_a_line(file):
            file.write(b"\n")  # half a line becomes a line of its own, which is ignored
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

"""A raw folder during a fetch: one process at a time, a ledger, and a hidden place for unfinished files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from melascope.errors import DataError
from melascope.fetch.ledger import Ledger

SCRATCH = ".partial"
PART = ".part"  # of downloads that can resume; everything else that a killed process leaves is deleted


@dataclass(frozen=True)
class RawFolder:
    """A raw folder, locked by this process."""

    path: Path
    scratch: Path
    """For unfinished files, on the same disk."""
    ledger: Ledger


@contextmanager
def opened(path: str | Path) -> Iterator[RawFolder]:
    """Make and lock a raw folder.

    Raises:
        DataError: if it cannot be written, or another process fills it.
    """
    path = Path(path)
    scratch = path / SCRATCH
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(
            f"{path}: another fetch fills this folder; wait for it, or give another --out"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        for unfinished in scratch.iterdir():
            if PART not in unfinished.suffixes:
                unfinished.unlink()
        with Ledger(path) as ledger:
            yield RawFolder(path, scratch, ledger)
    finally:
        if not any(scratch.iterdir()):
            scratch.rmdir()
        lock.release()


def require_space(path: Path, needed: int) -> None:
    """Check that the disk of a file or folder has room.

    Args:
        path: need not exist.
        needed: bytes.

    Raises:
        DataError: if it has not.
    """
    free = free_bytes(path)
    if needed > free:
        raise DataError(
            f"{path}: needs {readable_size(needed)}; only {readable_size(free)} free on this disk"
        )


def free_bytes(path: Path) -> int:
    """Bytes free on the disk that a file or folder is or would be on."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def move(part: Path, path: Path) -> None:
    """Give a whole file its place.

    Raises:
        DataError: if it cannot be written there.
    """
    try:
        try:
            os.replace(part, path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def readable_size(size: float) -> str:
    """Bytes with a unit.

    >>> readable_size(1_250_000_000)
    '1.25 GB'
    """
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"

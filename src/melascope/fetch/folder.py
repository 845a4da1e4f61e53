"""A raw folder while it is filled: one process at a time, and a hidden place for what is not whole yet."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from melascope.errors import DataError

SCRATCH = ".partial"
PART = ".part"  # what can be gone on with; everything else that a kill left there is thrown away


@contextmanager
def opened(out: str | Path) -> Iterator[Path]:
    """Make and lock a raw folder; gives the place for what is not whole yet.

    Raises:
        DataError: if it cannot be written, or another process fills it.
    """
    out = Path(out)
    scratch = out / SCRATCH
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(
            f"{out}: another fetch is filling this folder; wait for it, or give another --out"
        ) from None
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    try:
        for path in scratch.iterdir():
            if PART not in path.suffixes:
                path.unlink()
        yield scratch
    finally:
        if not any(scratch.iterdir()):
            scratch.rmdir()
        lock.release()


def insist_on_room(out: Path, needed: int) -> None:
    """See that the disk has room.

    Raises:
        DataError: if not.
    """
    free = free_bytes(out)
    if needed > free:
        raise DataError(f"{out}: {in_words(needed)} are to come, and the disk has {in_words(free)} free")


def free_bytes(out: Path) -> int:
    """Bytes free on the disk that a folder is or would be on."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def put(part: Path, path: Path) -> None:
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


def in_words(size: float) -> str:
    """Bytes as a person says them: 1.25 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"

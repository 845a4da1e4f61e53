"""Bytes in and out: one way to name a file or a member of a ZIP, one way to write without halves.

A *locator* is a string: the path of a file, or `ARCHIVE.zip::MEMBER` for a file inside a ZIP, so that
archives are read where they lie and never unpacked by hand.
"""

import contextlib
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO

from melascope.errors import DataError, ImageError

MEMBER = "::"
_INSIDE = re.compile(rf"(.*?\.zip){MEMBER}(.+)", re.IGNORECASE | re.DOTALL)
MAX_BYTES = 256 * 2**20  # no dermoscopic image is near this; a ZIP member that claims more is a bomb
# mkstemp makes private files; results are for sharing. The mask can only be read by setting it, for all threads: so it
# is read once, before there are any.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
# What zipfile raises on archives that are damaged, encrypted (RuntimeError) or made to confuse.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    OverflowError,
)


def split_locator(locator: str) -> tuple[str, str | None]:
    """Split a locator into its path and, for a file inside a ZIP, the member's name.

    >>> split_locator("clinic/17.jpg")
    ('clinic/17.jpg', None)
    >>> split_locator("export.zip::images/17.jpg")
    ('export.zip', 'images/17.jpg')
    """
    match = _INSIDE.fullmatch(locator)
    return (match[1], match[2]) if match else (locator, None)


@lru_cache(maxsize=32)
def _zip(path: str, pid: int, modified_ns: int, size: int) -> zipfile.ZipFile:
    # Opening a large archive reads its whole directory, so handles are kept: one set a process
    # (`pid`), since a file position shared across a fork would mix up reads; the rest is the key
    # that notices a replaced archive.
    del pid, modified_ns, size
    return zipfile.ZipFile(path)


def open_zip(path: str | Path) -> zipfile.ZipFile:
    """Open a ZIP for reading; the handle is shared and kept open.

    Raises:
        DataError: if it is missing or not a ZIP.
    """
    try:
        stat = os.stat(path)
        return _zip(str(path), os.getpid(), stat.st_mtime_ns, stat.st_size)
    except DAMAGE as error:
        raise DataError(f"{path}: not a readable ZIP file ({error}); download or copy it again") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def opened(locator: str) -> Iterator[IO[bytes]]:
    """Open a file or a member of a ZIP for reading.

    Args:
        locator: a path, or `ARCHIVE.zip::MEMBER`.

    Raises:
        ImageError: if it cannot be opened, or reading it fails.
    """
    path, member = split_locator(locator)
    try:
        with open(path, "rb") if member is None else open_zip(path).open(member) as file:
            yield file
    except DataError as error:
        raise ImageError(locator, str(error).removeprefix(f"{path}: ")) from error
    except OSError as error:
        raise ImageError(locator, error.strerror or str(error)) from error
    except DAMAGE as error:  # ValueError also for a path with a zero byte
        raise ImageError(locator, f"cannot be read ({error})") from error


def read(locator: str, limit: int = MAX_BYTES) -> bytes:
    """Read the bytes of a file or of a member of a ZIP.

    Args:
        locator: a path, or `ARCHIVE.zip::MEMBER`.
        limit: the most bytes to accept.

    Raises:
        ImageError: if it cannot be read or is larger than `limit`.
    """
    with opened(locator) as file:
        # Asked for more than there is, Python would first make room for all of it. Pipes and members have no size.
        size = os.fstat(file.fileno()).st_size if isinstance(file, io.BufferedReader) else 0
        data = file.read(size + 1 if 0 < size <= limit else limit + 1)
    if len(data) > limit:
        raise ImageError(locator, f"larger than {limit // 2**20} MiB")
    return data


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it onto `path` if the block succeeds.

    A killed process leaves the old file, or none, but never half of the new one.

    Raises:
        DataError: if the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            beside.chmod(0o666 & ~_UMASK)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def copy(source: str | Path, path: str | Path) -> None:
    """Copy a file, as `replacing` does."""
    with replacing(path) as beside:
        shutil.copyfile(source, beside)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as a whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, document: object) -> None:
    """Write a JSON file as a whole or not at all; NaN and infinity are errors, since JSON has neither."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def claim(path: str | Path, purpose: Mapping[str, object], what: str) -> None:
    """Reserve a folder for one purpose, or check that it is reserved for the same purpose already.

    Args:
        path: JSON file in the folder, which states the purpose.
        purpose: settings and data that the folder's content is made from.
        what: `a training` or the like, for the error.

    Raises:
        DataError: if the folder is reserved for something else.
    """
    path = Path(path)
    if not path.is_file():
        write_json(path, purpose)
    elif json.loads(path.read_text(encoding="utf-8")) != purpose:
        raise DataError(
            f"{path.parent}: holds {what} with other settings or data; name another --out, or remove it"
        )

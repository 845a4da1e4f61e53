"""Unpacking a ZIP from anywhere: what could write elsewhere, or without end, is refused before anything is written."""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from melascope import files
from melascope.errors import DataError
from melascope.fetch.folder import free_bytes, in_words, put
from melascope.fetch.ledger import Ledger, Row
from melascope.progress import Progress, silent

_RATIO = 200  # images are not packed further, and tables of ours by a hundred at most
_SMALL = 2**20  # below which no ratio is a bomb
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:")


class UnsafeError(DataError):
    """A ZIP that is not unpacked."""


def openable(path: Path, name: str) -> None:
    """See that what is called a ZIP is one, with its directory whole.

    Raises:
        DataError: if not.
    """
    if name.lower().endswith(".zip") and not zipfile.is_zipfile(path):
        raise DataError(f"{name}: not a whole ZIP file")


def members(path: Path, free: int) -> list[zipfile.ZipInfo]:
    """The files of a ZIP that are to be unpacked: all but folders and hidden ones.

    Args:
        path: the ZIP.
        free: bytes that they may take.

    Raises:
        UnsafeError: if a name leads out of the folder, is a link, encrypted or there twice, or the sizes are a bomb's.
        DataError: if it is not a readable ZIP.
    """
    found = []
    taken: set[str] = set()
    infos = files.open_zip(path).infolist()
    for info in infos:
        if why := _wrong(info):
            raise UnsafeError(f"{path}: {_shown(info.filename)} {why}; nothing was unpacked")
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        plain = info.filename.casefold()
        if plain in taken:
            raise UnsafeError(f"{path}: {_shown(info.filename)} is there twice; nothing was unpacked")
        taken.add(plain)
        found.append(info)
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise UnsafeError(f"{path}: its files overlap, as in a bomb; nothing was unpacked")
    if (total := sum(info.file_size for info in found)) > free:
        raise UnsafeError(
            f"{path}: unpacked it takes {in_words(total)}, and the disk has {in_words(free)} free"
        )
    return found


def _wrong(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename  # zipfile cuts a name at a zero byte and turns its slashes
    if any(ord(character) < 32 for character in name) or not name.strip():
        return "is no name for a file"
    if name.startswith("/") or "\\" in name or _DRIVE.match(name) or ".." in PurePosixPath(name).parts:
        return "leads out of the folder"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return "is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.file_size > _SMALL and info.file_size > _RATIO * max(1, info.compress_size):
        return f"grows {info.file_size // max(1, info.compress_size)}-fold, as in a bomb"
    return None


def unpack(
    path: Path, out: Path, inside: str, scratch: Path, ledger: Ledger, progress: Progress = silent
) -> Iterator[Row]:
    """Unpack a ZIP into a folder of a raw folder, or go on with it; gives a row for each file that failed.

    Args:
        path: the ZIP.
        out: the raw folder.
        inside: name of the folder in it.
        scratch: on the same disk, for what is not whole yet.
        ledger: of the raw folder.
        progress: called with (what, done, total).

    Raises:
        UnsafeError: before anything is written, as `members` does.
        DataError: if a file cannot be written.
    """
    found = members(path, free_bytes(out))
    for done, info in enumerate(found, start=1):
        target = f"{inside}/{info.filename}"
        if not ledger.has(target, info.file_size):
            row = _one(path, info, out, target, scratch)
            ledger.add(row)
            if row.state == "failed":
                yield row
        progress(f"unpacking {path.name}", done, len(found))


def _one(path: Path, info: zipfile.ZipInfo, out: Path, target: str, scratch: Path) -> Row:
    part, address = scratch / "member", f"{path.name}{files.MEMBER}{info.filename}"
    try:
        with files.open_zip(path).open(info) as packed, open(part, "wb") as file:
            while chunk := packed.read(2**20):
                file.write(chunk)
    except files.DAMAGE as error:
        part.unlink(missing_ok=True)
        return Row(target, address, "failed", reason=f"damaged in the ZIP ({error})")
    except OSError as error:
        raise DataError(f"{out / target}: cannot be written ({error.strerror or error})") from error
    row = Row(target, address, "done", os.stat(part).st_size, files.sha256(part))
    put(part, out / target)
    return row


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:80]

"""Unpacks untrusted ZIPs: one that could write elsewhere or without end is refused before anything is written."""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from melascope import files
from melascope.errors import DataError, printable
from melascope.fetch.folder import RawFolder, free_bytes, move, readable_size
from melascope.fetch.ledger import Row
from melascope.progress import Progress, silent

_MAX_RATIO = 200  # images hardly shrink, and metadata tables a hundredfold at most
_HARMLESS_BYTES = 2**20  # a member up to this size may have any ratio
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:")


class UnsafeZipError(DataError):
    """A ZIP that could do harm; nothing of it was unpacked."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; nothing was unpacked")


def check_zip(path: Path, name: str) -> None:
    """Check that a file whose name ends in .zip is a ZIP with a whole directory.

    Args:
        path: the file, under any name.
        name: its name.

    Raises:
        DataError: if it is not.
    """
    if name.lower().endswith(".zip") and not zipfile.is_zipfile(path):
        raise DataError(f"{name}: not a whole ZIP file")


def members(path: Path, free: int) -> list[zipfile.ZipInfo]:
    """The files of a ZIP to unpack: all but folders and hidden files.

    Args:
        path: the ZIP.
        free: bytes that the files may take.

    Raises:
        UnsafeZipError: if a name leads out of the folder, a member is a link, encrypted or repeated, or the ZIP is a
            bomb.
        DataError: if it is not a readable ZIP.
    """
    chosen = []
    taken: set[str] = set()
    infos = files.open_zip(path).infolist()
    for info in infos:
        name = printable(info.filename)[:80]
        if danger := _danger(info):
            raise UnsafeZipError(path, f"{name} {danger}")
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        plain = info.filename.casefold()
        if plain in taken:
            raise UnsafeZipError(path, f"{name} is there twice")
        taken.add(plain)
        chosen.append(info)
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise UnsafeZipError(path, "its files overlap, as in a ZIP bomb")
    if (total := sum(info.file_size for info in chosen)) > free:
        raise UnsafeZipError(
            path, f"needs {readable_size(total)}; only {readable_size(free)} free on this disk"
        )
    return chosen


def _danger(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename  # zipfile cuts a name at a zero byte and turns its slashes
    if any(ord(character) < 32 for character in name) or not name.strip():
        return "is not a file name"
    if name.startswith("/") or "\\" in name or _DRIVE.match(name) or ".." in PurePosixPath(name).parts:
        return "leads out of the folder"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return "is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.file_size > _HARMLESS_BYTES and info.file_size > _MAX_RATIO * max(1, info.compress_size):
        return f"grows {info.file_size // max(1, info.compress_size)}-fold, as in a ZIP bomb"
    return None


def unpack(path: Path, folder: RawFolder, inside: str, progress: Progress = silent) -> Iterator[Row]:
    """Unpack a ZIP into a folder of a raw folder, or resume that.

    Args:
        path: the ZIP.
        folder: the raw folder.
        inside: name of the folder in it.
        progress: called with (what, done, total).

    Yields:
        A row for each file that failed.

    Raises:
        UnsafeZipError: before anything is written, as `members` does.
        DataError: if a file cannot be written.
    """
    chosen = members(path, free_bytes(folder.path))
    for done, info in enumerate(chosen, start=1):
        target = f"{inside}/{info.filename}"
        if not folder.ledger.has(target, info.file_size):
            row = _unpack_one(path, info, folder, target)
            folder.ledger.add(row)
            if row.state == "failed":
                yield row
        progress(f"unpacking {path.name}", done, len(chosen))


def _unpack_one(path: Path, info: zipfile.ZipInfo, folder: RawFolder, target: str) -> Row:
    part, address = folder.scratch / "member", f"{path.name}{files.MEMBER}{info.filename}"
    try:
        with files.open_zip(path).open(info) as packed, open(part, "wb") as file:
            while chunk := packed.read(2**20):
                file.write(chunk)
    except files.DAMAGE as error:
        part.unlink(missing_ok=True)
        return Row(target, address, "failed", reason=f"damaged in the ZIP ({error})")
    except OSError as error:
        raise DataError(f"{folder.path / target}: cannot be written ({error.strerror or error})") from error
    row = Row(target, address, "done", os.stat(part).st_size, files.sha256(part))
    move(part, folder.path / target)
    return row

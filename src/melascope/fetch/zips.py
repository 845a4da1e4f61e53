"""ZIPs from the web or this machine, each unpacked into a folder of its name in a raw folder."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from melascope import files
from melascope.errors import DataError
from melascope.fetch.challenge import year_of
from melascope.fetch.client import RefusedError, UnreachableError, without_query
from melascope.fetch.folder import PART, RawFolder, opened
from melascope.fetch.isic_api import Archive
from melascope.fetch.ledger import Row
from melascope.fetch.resumable import ResumableDownload
from melascope.fetch.unpack import check_zip, unpack
from melascope.progress import Notify, Progress, quiet, silent

_SIGNATURES = ("X-Amz-Signature", "Signature", "Expires", "Policy")  # parameters of an address that expires


def fetch(
    archive: Archive,
    sources: Sequence[str],
    out: Path,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> list[Row]:
    """Download and unpack ZIPs, or resume that. A ZIP on this machine stays where it is.

    Args:
        archive: its client sends the requests.
        sources: addresses and paths of ZIPs.
        out: the raw folder.
        progress: called with (what, done, total).
        notify: called if a download cannot be resumed.

    Returns:
        A row for each ZIP or member that failed.

    Raises:
        DataError: if a ZIP could do harm, two ZIPs have one name, or a file cannot be written.
    """
    names = {source: _name(source) for source in sources}
    for source, name in names.items():
        if list(names.values()).count(name) > 1:
            raise DataError(f"{source}: another ZIP has the name {name} too; give each an --out of its own")
        if not _is_address(source) and not Path(source).is_file():
            raise DataError(f"{source}: no such file")
    failed: list[Row] = []
    with opened(out) as folder:
        for source, name in names.items():
            if _is_address(source):
                failed += _download_and_unpack(archive, source, name, folder, progress, notify)
            else:
                failed += unpack(Path(source), folder, name, progress)
        if not failed:
            folder.ledger.compact()
    return failed


def _download_and_unpack(
    archive: Archive, url: str, name: str, folder: RawFolder, progress: Progress, notify: Notify
) -> list[Row]:
    path, address, ledger = f"{name}.zip", without_query(url), folder.ledger
    before = ledger.last(path)
    if before and before.state == "unpacked" and before.members == ledger.count(name):
        if before.address != address:
            raise DataError(f"{url}: {folder.path / name} is from {before.address}; give another --out")
        return []
    part = folder.scratch / f"{path}{PART}"
    download = ResumableDownload(archive.client, part, progress, notify)
    try:
        download.download([url])
    except (RefusedError, UnreachableError) as error:
        row = Row(path, address, "failed", reason=_explained(error, url, folder.path))
        ledger.add(row)
        return [row]
    try:
        check_zip(part, path)
    except DataError:
        download.discard()
        raise
    failed = list(unpack(part, folder, name, progress))
    if not failed:
        size, sha256 = part.stat().st_size, files.sha256(part)
        ledger.add(Row(path, address, "unpacked", size, sha256, members=ledger.count(name)))
    download.discard()
    return failed


def _is_address(source: str) -> bool:
    return re.match("https?://", source) is not None


def _name(source: str) -> str:
    """Name of a ZIP's folder; the archive's addresses of ZIPs end in no name, so it comes from a hash."""
    path = PurePosixPath(unquote(urlsplit(source).path)) if _is_address(source) else Path(source)
    if path.suffix.lower() == ".zip":
        name = path.stem
    else:
        digest = hashlib.sha256(source.encode()).hexdigest()
        name = f"ISIC-images-{digest[:8]}" if _is_address(source) else path.name
    plain = re.sub(r"[^\w.+-]+", "_", name).lstrip(".")
    if not plain:
        raise DataError(f"{source}: has no name for a folder")
    return plain


def _explained(error: DataError, url: str, out: Path) -> str:
    """An error's reason and, for an address that has expired, the command that works."""
    if not isinstance(error, RefusedError) or error.status not in (401, 403):
        return str(error)
    parts = urlsplit(url)
    parameters = parse_qs(parts.query)
    if "zsid" in parameters:
        hint = (
            f"such a link expires after a day; use melascope fetch isic --query 'THE SAME QUERY' --out {out}"
        )
    elif year := year_of(PurePosixPath(parts.path).name):
        hint = f"use melascope fetch challenge {year} --out {out}"
    elif any(name in parameters for name in _SIGNATURES):
        hint = f"this link has expired; try melascope fetch zip {without_query(url)} --out {out}, or get a new link"
    else:
        return str(error)
    return f"{error}: {hint}"

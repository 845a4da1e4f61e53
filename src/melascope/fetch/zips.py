"""ZIPs by address or from this machine, unpacked into a raw folder, each into a folder of its name."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from melascope import files
from melascope.errors import DataError
from melascope.fetch.challenge import year_of
from melascope.fetch.client import RefusedError, UnreachableError, bare
from melascope.fetch.folder import PART, opened
from melascope.fetch.isic_api import Archive
from melascope.fetch.ledger import Ledger, Row
from melascope.fetch.resumable import Resumed
from melascope.fetch.unpack import openable, unpack
from melascope.progress import Progress, silent

_SIGNED = ("X-Amz-Signature", "Signature", "Expires", "Policy")  # of a link that ends


def fetch(
    archive: Archive,
    words: Sequence[str],
    out: Path,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Bring ZIPs and unpack them, or go on with it. A ZIP of this machine stays where it is.

    Args:
        archive: whose client asks.
        words: addresses and paths.
        out: the raw folder.
        progress: called with (what, done, total).
        say: hears sentences for the user.

    Returns:
        A row for each ZIP or file of one that could not be got.

    Raises:
        DataError: if a ZIP is not fit to be unpacked, two have one name, or a file cannot be written.
    """
    names = {word: _name(word) for word in words}
    for word, name in names.items():
        if list(names.values()).count(name) > 1:
            raise DataError(f"{word}: another one is called {name} too; give each an --out of its own")
        if not _is_address(word) and not Path(word).is_file():
            raise DataError(f"{word}: no such file")
    failed: list[Row] = []
    with opened(out) as scratch, Ledger(out) as ledger:
        for word, name in names.items():
            if _is_address(word):
                failed += _from_address(archive, word, name, out, scratch, ledger, progress, say)
            else:
                failed += unpack(Path(word), out, name, scratch, ledger, progress)
        if not failed:
            ledger.settle()
    return failed


def _from_address(
    archive: Archive,
    url: str,
    name: str,
    out: Path,
    scratch: Path,
    ledger: Ledger,
    progress: Progress,
    say: Callable[[str], None],
) -> list[Row]:
    path = f"{name}.zip"
    before = ledger.last(path)
    if before and before.state == "unpacked" and before.members == ledger.count(name):
        if before.address != bare(url):
            raise DataError(f"{url}: {out / name} is from {before.address}; give another --out")
        return []
    part = scratch / f"{path}{PART}"
    resumed = Resumed(archive.client, part, progress, say)
    try:
        resumed.bring([url])
    except (RefusedError, UnreachableError) as error:
        row = Row(path, bare(url), "failed", reason=_explained(error, url, out))
        ledger.add(row)
        return [row]
    try:
        openable(part, path)
    except DataError:
        resumed.drop()
        raise
    failed = list(unpack(part, out, name, scratch, ledger, progress))
    if not failed:
        size, sha256 = part.stat().st_size, files.sha256(part)
        ledger.add(Row(path, bare(url), "unpacked", size, sha256, members=ledger.count(name)))
    resumed.drop()
    return failed


def _is_address(word: str) -> bool:
    return re.match("https?://", word) is not None


def _name(word: str) -> str:
    """What the folder of a ZIP is called; the archive's links to ZIPs have no name, so it is told from the link."""
    path = PurePosixPath(unquote(urlsplit(word).path)) if _is_address(word) else Path(word)
    if path.suffix.lower() == ".zip" or not _is_address(word):
        name = path.name.removesuffix(path.suffix) if path.suffix.lower() == ".zip" else path.name
    else:
        name = f"ISIC-images-{hashlib.sha256(word.encode()).hexdigest()[:8]}"
    plain = re.sub(r"[^\w.+-]+", "_", name).lstrip(".")
    if not plain:
        raise DataError(f"{word}: has no name to call a folder by")
    return plain


def _explained(error: DataError, url: str, out: Path) -> str:
    """Why, and for a link that has expired, the command that works."""
    if not isinstance(error, RefusedError) or error.status not in (401, 403):
        return str(error)
    asked = parse_qs(urlsplit(url).query)
    year = year_of(PurePosixPath(urlsplit(url).path).name)
    if "zsid" in asked:
        way = f"a link to a ZIP lives for a day; melascope fetch isic --query 'THE SAME QUERY' --out {out} needs none"
    elif year:
        way = f"melascope fetch challenge {year} --out {out} needs no link"
    elif any(key in asked for key in _SIGNED):
        way = f"the link was signed and has expired; try melascope fetch zip {bare(url)} --out {out}, or get a new link"
    else:
        return str(error)
    return f"{error}: {way}"

"""Images of the ISIC Archive by query: listed, then brought, into a folder as the archive itself hands out."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope import files
from melascope.errors import DataError
from melascope.fetch import metadata
from melascope.fetch.client import RefusedError, UnreachableError, UnsoundError
from melascope.fetch.download import JOBS, Transfers
from melascope.fetch.folder import free_bytes, insist_on_room, opened
from melascope.fetch.isic_api import PAGE_SIZE, Archive, file_name
from melascope.fetch.ledger import Ledger, Row
from melascope.fetch.listing import NAME as LISTING
from melascope.fetch.listing import Asked, Listing
from melascope.progress import Progress, silent

Say = Callable[[str], None]
_LARGE_LISTING = 20_000  # images; listing more takes minutes
_NONE = "the archive has no such image"


@dataclass(frozen=True)
class Plan:
    """What a fetch would bring."""

    images: int | None
    size: int | None
    """Bytes; None where the archive does not tell."""
    exact: bool
    """Whether `size` is the archive's own sum, or a share of it."""


def plan(archive: Archive, asked: Asked) -> Plan:
    """Ask the archive how much a fetch would bring.

    Raises:
        DataError: if it does not understand the query, or a collection is not there.
    """
    counted = _count(archive, asked)
    size = archive.size(asked.query, asked.collections)
    if counted is None or asked.limit is None or asked.limit >= counted:
        return Plan(counted, size, exact=True)
    return Plan(asked.limit, size * asked.limit // counted if size is not None else None, exact=False)


def fetch(
    archive: Archive,
    asked: Asked,
    out: Path,
    *,
    with_images: bool = True,
    jobs: int = JOBS,
    progress: Progress = silent,
    say: Say = lambda _: None,
) -> list[Row]:
    """Bring what is asked for into a folder, or go on with it.

    Args:
        archive: where from.
        asked: what.
        out: the raw folder.
        with_images: False leaves them out: only tables and texts.
        jobs: transfers at once.
        progress: called with (what, done, total).
        say: hears sentences for the user.

    Returns:
        A row for each file that could not be got.

    Raises:
        DataError: if it cannot be done at all; the same call goes on where it stopped.
    """
    if not (out / LISTING).exists() and _count(archive, asked) == 0:
        raise DataError(f"{asked.query}: {_NONE}")
    with opened(out) as scratch, Ledger(out) as ledger:
        listing = Listing(out, asked)
        if not listing.complete:
            _list(archive, asked, listing, progress, say)
        if not len(listing):
            listing.forget()
            raise DataError(f"{asked.query}: {_NONE}")
        failures = list(_texts(archive, out, listing, ledger))
        if with_images:
            if (to_come := _size(archive, asked, listing)) > free_bytes(out):
                insist_on_room(out, to_come - _here(out, listing))
            failures += Transfers(archive, out, scratch, ledger, jobs).run(
                listing.entries(), len(listing), progress
            )
        if asked.limit is None and (listing.counted or 0) > len(listing):
            listing.forget()
            raise UnreachableError(
                f"{out}: the archive counted {listing.counted} images and listed only {len(listing)}; the same "
                "command asks again"
            )
        if not failures:
            ledger.settle()
            listing.forget()
        return failures


def _count(archive: Archive, asked: Asked) -> int | None:
    for number in asked.collections:
        archive.collection(number)
    return next(archive.pages(asked.query, asked.collections, limit=1)).count


def _list(archive: Archive, asked: Asked, listing: Listing, progress: Progress, say: Say) -> None:
    """Make the listing page by page, or resume it."""
    began = time.monotonic()
    for number, page in enumerate(archive.pages(asked.query, asked.collections, listing.cursor), start=1):
        listing.add(page)
        progress("listing images", len(listing), listing.expected)
        if listing.complete:
            return
        left = listing.expected - len(listing)
        if number == 1 and left > _LARGE_LISTING:
            minutes = (time.monotonic() - began) * left / PAGE_SIZE / 60
            say(
                f"listing {left:,} more images takes about {minutes:.0f} minutes; the archive also offers all its "
                f"public images as one ZIP: {archive.snapshot_address()}"
            )


def _texts(archive: Archive, out: Path, listing: Listing, ledger: Ledger) -> Iterator[Row]:
    """Write the tables, and bring the licences' texts; gives a row for each that failed."""

    def read(answer: BaseHTTPResponse) -> bytes:
        text = answer.read()
        if not text.strip():
            raise UnsoundError("an empty text")
        return text

    for license_ in metadata.write(out, listing.entries()):
        path = f"{metadata.LICENSES}/{license_}.txt"
        address = archive.license_address(license_)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", license_) or ledger.has(path):
            continue
        try:
            text = archive.client.ask(address, read)
        except (RefusedError, UnreachableError) as error:
            row = Row(path, address, "failed", reason=str(error))
            yield row
        else:
            with files.replacing(out / path) as beside:
                beside.write_bytes(text)
            row = Row(path, address, "done", len(text), files.sha256(out / path))
        ledger.add(row)


def _size(archive: Archive, asked: Asked, listing: Listing) -> int:
    """Bytes of all images, as far as the archive tells."""
    return listing.size if listing.size is not None else plan(archive, asked).size or 0


def _here(out: Path, listing: Listing) -> int:
    """Bytes that are here already."""
    paths = (out / file_name(entry) for entry in listing.entries())
    return sum(path.stat().st_size for path in paths if path.is_file())

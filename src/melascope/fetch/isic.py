"""Images of the ISIC Archive by query: listed, then brought, into a folder as the archive itself hands out."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from urllib3.response import BaseHTTPResponse

from melascope import files
from melascope.errors import DataError
from melascope.fetch import metadata
from melascope.fetch.client import RefusedError, UnreachableError, UnsoundError
from melascope.fetch.download import JOBS, Transfers
from melascope.fetch.folder import PART, free_bytes, insist_on_room, opened
from melascope.fetch.isic_api import Archive, Page, file_name
from melascope.fetch.ledger import Ledger, Row
from melascope.fetch.listing import NAME as LISTING
from melascope.fetch.listing import Asked, Listing
from melascope.fetch.query import Query, QueryError, UnsuitedError, parse
from melascope.fetch.resume import Resumed
from melascope.progress import Progress, silent

Route = Literal["auto", "api", "snapshot"]
Say = Callable[[str], None]
_MANY = 2000  # images from which on one table is got faster than their pages
_NONE = "the archive has no such image"
_SNAPSHOT = "snapshot"  # the cursor of a listing that is not through with the snapshot


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
    route: Route = "auto",
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
        route: list through the archive's pages, its snapshot, or whichever is faster.
        with_images: False leaves them out: only tables and texts.
        jobs: transfers at once.
        progress: called with (what, done, total).
        say: hears sentences for the user.

    Returns:
        A row for each file that could not be got.

    Raises:
        DataError: if it cannot be done at all; the same call goes on where it stopped.
    """
    counted = None
    if not (out / LISTING).exists() and (counted := _count(archive, asked)) == 0:
        raise DataError(f"{asked.query}: {_NONE}")
    with opened(out) as scratch, Ledger(out) as ledger:
        listing = Listing(out, asked)
        if not listing.complete:
            _list(archive, asked, listing, counted, scratch, route, progress, say)
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


def _list(
    archive: Archive,
    asked: Asked,
    listing: Listing,
    counted: int | None,
    scratch: Path,
    route: Route,
    progress: Progress,
    say: Say,
) -> None:
    """Make the listing, or go on with it."""
    if listing.cursor is None and route == "auto":
        wanted = min(counted or 0, asked.limit or counted or 0)
        route = "snapshot" if wanted > _MANY and _understood(asked) else "api"
    if listing.cursor == _SNAPSHOT:
        route = "snapshot"
    if route == "snapshot":
        try:
            _list_from_snapshot(archive, asked, listing, scratch, counted, progress, say)
            return
        except (RefusedError, UnreachableError, UnsuitedError) as error:
            say(f"{error}; listing through the archive's pages")
    cursor = None if listing.cursor == _SNAPSHOT else listing.cursor
    for page in archive.pages(asked.query, asked.collections, cursor):
        listing.add(page)
        progress("listing images", len(listing), asked.limit or listing.counted or len(listing))
        if listing.complete:
            return


def _understood(asked: Asked) -> Query | None:
    try:
        return None if asked.collections else parse(asked.query)
    except QueryError:
        return None


def _list_from_snapshot(
    archive: Archive,
    asked: Asked,
    listing: Listing,
    scratch: Path,
    counted: int | None,
    progress: Progress,
    say: Say,
) -> None:
    from melascope.fetch import snapshot  # noqa: PLC0415  # its libraries take long to load

    query = _understood(asked)
    if query is None:
        raise UnsuitedError("the snapshot cannot answer this query")
    part = scratch / f"ISIC_metadata.parquet{PART}"
    resumed = Resumed(archive.client, part, progress)
    resumed.bring([archive.snapshot_address()])
    try:
        for entries in snapshot.search(part, query):
            listing.add(Page(entries, _SNAPSHOT))
            if listing.complete:
                break
        else:
            listing.add(Page([], None))
        say(_dated(snapshot.taken_at(part), len(listing), counted if asked.limit is None else None))
    finally:
        resumed.drop()


def _dated(taken: str | None, listed: int, counted: int | None) -> str:
    text = f"listed {listed:,} images from the archive's snapshot{f' of {taken}' if taken else ''}"
    if counted is not None and counted != listed:
        text += f"; the archive itself counts {counted:,} now, and --listing api lists those"
    return text


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

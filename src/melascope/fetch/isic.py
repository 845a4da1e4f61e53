"""Images of the ISIC Archive by query: listed, then downloaded, into a folder in the archive's own form."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from urllib3.response import BaseHTTPResponse

from melascope import files
from melascope.errors import DataError
from melascope.fetch import metadata
from melascope.fetch.client import InvalidResponseError, RefusedError, UnreachableError
from melascope.fetch.download import JOBS, Downloads
from melascope.fetch.folder import RawFolder, free_bytes, opened, require_space
from melascope.fetch.isic_api import PAGE_SIZE, Archive, file_name
from melascope.fetch.ledger import Row
from melascope.fetch.listing import NAME as LISTING
from melascope.fetch.listing import Listing, Selection
from melascope.fetch.query import restricted, translated
from melascope.progress import Notify, Progress, quiet, silent

LARGE_LISTING = 20_000  # images; listing more takes minutes
_NONE = "the archive has no such image"


@dataclass(frozen=True)
class Plan:
    """Number and size of the images that a fetch would download."""

    images: int | None
    size: int | None
    """Bytes; None if the archive does not say."""
    exact: bool
    """Whether `size` is the archive's own sum, or a share of it."""


def select(
    query: str,
    collections: Sequence[int] = (),
    limit: int | None = None,
    licenses: Sequence[str] = (),
    notify: Notify = quiet,
) -> Selection:
    """The selection that a user's query means.

    Args:
        query: in the archive's query language, with today's fields or former ones.
        collections: only images of these, by number.
        limit: at most this many images.
        licenses: only images under these.
        notify: called with a sentence for each change of the query.

    Raises:
        DataError: if a former field has no translation, quotes or parentheses do not match, or a licence is unknown.
    """
    text = restricted(translated(query.strip(), notify), licenses, notify)
    return Selection(text, tuple(collections), limit, tuple(licenses))


def plan(archive: Archive, selection: Selection) -> Plan:
    """Ask the archive how much a fetch would download.

    Raises:
        DataError: if the archive cannot read the query, or a collection does not exist.
    """
    counted = _count(archive, selection)
    size = archive.size(selection.query, selection.collections)
    if counted is None or selection.limit is None or selection.limit >= counted:
        return Plan(counted, size, exact=True)
    share = size * selection.limit // counted if size is not None else None
    return Plan(selection.limit, share, exact=False)


def fetch(
    archive: Archive,
    selection: Selection,
    out: Path,
    *,
    with_images: bool = True,
    jobs: int = JOBS,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> list[Row]:
    """Download images and their metadata into a folder, or resume that.

    Args:
        archive: the images' origin.
        selection: the images to download.
        out: the raw folder.
        with_images: False downloads only tables and texts.
        jobs: downloads at once.
        progress: called with (what, done, total).
        notify: called if listing takes long.

    Returns:
        A row for each file that failed.

    Raises:
        DataError: if the fetch cannot proceed; the same call resumes it.
    """
    if not (out / LISTING).exists() and _count(archive, selection) == 0:
        raise DataError(f"{selection.query}: {_NONE}")
    with opened(out) as folder:
        listing = Listing(out, selection)
        if not listing.complete:
            _list(archive, selection, listing, progress, notify)
        if not len(listing):
            listing.delete()
            raise DataError(f"{selection.query}: {_NONE}")
        failures = list(_write_texts(archive, folder, listing))
        if with_images:
            if (size := _size(archive, selection, listing)) > free_bytes(out):
                require_space(out, size - _existing_bytes(out, listing))
            failures += Downloads(archive, folder, jobs).run(listing.entries(), len(listing), progress)
        if selection.limit is None and (listing.counted or 0) > len(listing):
            listing.delete()
            raise UnreachableError(
                f"{out}: the archive counted {listing.counted} images but listed only {len(listing)}; run the same "
                "command to list them again"
            )
        if not failures:
            folder.ledger.compact()
            listing.delete()
        return failures


def _count(archive: Archive, selection: Selection) -> int | None:
    for number in selection.collections:
        archive.collection(number)
    return next(archive.pages(selection.query, selection.collections, limit=1)).count


def _list(
    archive: Archive, selection: Selection, listing: Listing, progress: Progress, notify: Notify
) -> None:
    """Make the listing page by page, or resume it."""
    began = time.monotonic()
    pages = archive.pages(selection.query, selection.collections, listing.cursor)
    for number, page in enumerate(pages, start=1):
        listing.add(page)
        progress("listing images", len(listing), listing.expected)
        if listing.complete:
            return
        left = listing.expected - len(listing)
        if number == 1 and left > LARGE_LISTING:
            minutes = (time.monotonic() - began) * left / PAGE_SIZE / 60
            notify(
                f"listing {left:,} more images takes about {minutes:.0f} minutes; the archive also offers all its "
                f"public images as one ZIP: {archive.snapshot_address()}"
            )


def _write_texts(archive: Archive, folder: RawFolder, listing: Listing) -> Iterator[Row]:
    """Write the tables and download the licences; yields a row for each failure."""

    def read(response: BaseHTTPResponse) -> bytes:
        text = response.read()
        if not text.strip():
            raise InvalidResponseError("an empty text")
        return text

    for license_ in metadata.write(folder.path, listing.entries()):
        path = f"{metadata.LICENSES}/{license_}.txt"
        address = archive.license_address(license_)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", license_) or folder.ledger.has(path):
            continue
        try:
            text = archive.client.request(address, read)
        except (RefusedError, UnreachableError) as error:
            row = Row(path, address, "failed", reason=str(error))
            yield row
        else:
            with files.replacing(folder.path / path) as beside:
                beside.write_bytes(text)
            row = Row(path, address, "done", len(text), files.sha256(folder.path / path))
        folder.ledger.add(row)


def _size(archive: Archive, selection: Selection, listing: Listing) -> int:
    """Bytes of all images, as far as the archive says."""
    return listing.size if listing.size is not None else plan(archive, selection).size or 0


def _existing_bytes(out: Path, listing: Listing) -> int:
    paths = (out / file_name(entry) for entry in listing.entries())
    return sum(path.stat().st_size for path in paths if path.is_file())

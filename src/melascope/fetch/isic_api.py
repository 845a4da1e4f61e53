"""The ISIC Archive's public API: its addresses, pages of images, and one image's entry.

Source: the archive's server, https://github.com/ImageMarkup/isic, API version 2.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from melascope.errors import DataError
from melascope.fetch.client import Client, RefusedError
from melascope.fetch.query import DICTIONARY
from melascope.images import EXTENSIONS
from melascope.progress import Notify, quiet

_API = "https://api.isic-archive.com/api/v2/"
_FILES = "https://isic-archive.s3.amazonaws.com/"
_OLD_CHALLENGES = "https://isic-challenge-data.s3.amazonaws.com/"
PAGE_SIZE = 100  # images; the archive gives no larger page
_ID = re.compile(r"ISIC_\d{7,}")


@dataclass(frozen=True)
class Addresses:
    """Addresses of the archive; each ends in a slash."""

    api: str = _API
    files: str = _FILES
    """Holds `images/`, `snapshots/` and `challenges/`."""
    old_challenges: str | None = _OLD_CHALLENGES
    """Held the challenges until 2025."""

    @classmethod
    def from_environment(cls) -> "Addresses":
        """Those of a mirror in `MELASCOPE_ISIC_API` and `MELASCOPE_ISIC_FILES`, else the archive's own."""
        api, files = os.environ.get("MELASCOPE_ISIC_API"), os.environ.get("MELASCOPE_ISIC_FILES")
        old_challenges = None if files else _OLD_CHALLENGES
        return cls(_slashed(api or _API), _slashed(files or _FILES), old_challenges)


@dataclass(frozen=True)
class Entry:
    """One image of the archive."""

    isic_id: str
    license: str
    attribution: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Other metadata under the archive's names; fields without a value are left out."""
    url: str | None = None
    """None: the usual address."""
    size: int | None = None
    """Bytes, if known."""


@dataclass(frozen=True)
class Page:
    """A page of a listing."""

    entries: list[Entry]
    cursor: str | None
    """Of the next page; None on the last."""
    count: int | None = None
    """Images on all pages; only the first page has it."""


class Archive:
    """Requests to the archive. Each raises what `Client.request` raises.

    Args:
        client: sends them.
        addresses: of the archive or a mirror.
    """

    def __init__(self, client: Client, addresses: Addresses) -> None:
        self.client = client
        self.addresses = addresses

    @classmethod
    def open(cls, jobs: int, notify: Notify = quiet) -> Self:
        """The archive, or the mirror that the environment names.

        Args:
            jobs: requests at once.
            notify: called with sentences for the user, such as of long waits.
        """
        return cls(Client(jobs, notify), Addresses.from_environment())

    def pages(
        self, query: str, collections: Sequence[int] = (), cursor: str | None = None, limit: int = PAGE_SIZE
    ) -> Iterator[Page]:
        """The pages of a search, beginning at a cursor.

        Raises:
            DataError: if the archive cannot read the query, or its pages repeat without end.
        """
        seen = {cursor}
        while True:
            page = self._page(query, collections, cursor, limit)
            yield page
            cursor = page.cursor
            if cursor is None:
                return
            if cursor in seen:
                raise DataError(
                    f"{self.addresses.api}images/search/: its pages repeat without end; try again later"
                )
            seen.add(cursor)

    def _page(self, query: str, collections: Sequence[int], cursor: str | None, limit: int) -> Page:
        search = f"{self.addresses.api}images/search/"
        words = {**_search(query, collections), "limit": limit, **({"cursor": cursor} if cursor else {})}
        try:
            page = self.client.json(f"{search}?{urlencode(words)}")
        except RefusedError as error:
            if error.status != 400:
                raise
            raise DataError(
                f"{query}: the archive cannot read this query{f' ({error.detail})' if error.detail else ''}; write "
                "field:value with AND, OR, - and parentheses, such as 'diagnosis_1:Malignant AND age_approx:[50 TO "
                f"70]'; fields and values: {DICTIONARY}"
            ) from error
        try:
            return Page(
                [_entry(image) for image in page["results"]], _cursor(page.get("next")), page.get("count")
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{search}: a response in an unknown form ({error!r})") from error

    def size(self, query: str, collections: Sequence[int] = ()) -> int | None:
        """Bytes of all images of a search; None if the archive does not say."""
        words = urlencode(_search(query, collections))
        try:
            return int(self.client.json(f"{self.addresses.api}images/search/size/?{words}")["size"])
        except (RefusedError, KeyError, TypeError, ValueError):
            return None

    def entry(self, isic_id: str) -> Entry:
        """One image's entry, with a present address."""
        return _entry(self.client.json(f"{self.addresses.api}images/{isic_id}/"))

    def collection(self, number: int) -> str:
        """A collection's name.

        Raises:
            DataError: if it does not exist or is not public.
        """
        try:
            return str(self.client.json(f"{self.addresses.api}collections/{number}/")["name"])
        except RefusedError as error:
            raise DataError(
                f"--collections {number}: the archive has no public collection {number}"
            ) from error

    def license_address(self, license_: str) -> str:
        """Address of the text of a licence."""
        return f"{self.addresses.api}zip-download/license-file/{license_}/"

    def image_address(self, entry: Entry) -> str:
        """Address of an image."""
        return entry.url or f"{self.addresses.files}images/{entry.isic_id}.jpg"

    def snapshot_address(self) -> str:
        """Address of the ZIP of all public images."""
        return f"{self.addresses.files}snapshots/ISIC_images.zip"


def file_name(entry: Entry) -> str:
    """An image's file name: its id, with the extension of its address."""
    suffix = PurePosixPath(urlsplit(entry.url or "").path).suffix.lower()
    return entry.isic_id + (suffix if suffix in EXTENSIONS else ".jpg")


def _search(query: str, collections: Sequence[int]) -> dict[str, str]:
    return {"query": query, **({"collections": ",".join(map(str, collections))} if collections else {})}


def _entry(image: Mapping[str, Any]) -> Entry:
    isic_id = str(image["isic_id"])
    if not _ID.fullmatch(isic_id):  # it becomes a file name
        raise ValueError(f"{isic_id!r} is not an id of the ISIC Archive")
    metadata = image.get("metadata") or {}
    fields = {**(metadata.get("acquisition") or {}), **(metadata.get("clinical") or {})}
    full = (image.get("files") or {}).get("full") or {}
    return Entry(
        isic_id,
        str(image.get("copyright_license") or ""),
        str(image.get("attribution") or ""),
        {name: value for name, value in fields.items() if value is not None},
        full.get("url"),
        int(full["size"]) if full.get("size") else None,
    )


def _cursor(address: str | None) -> str | None:
    # Behind a mirror the archive does not know its own address, so only the cursor counts.
    return parse_qs(urlsplit(address).query).get("cursor", [None])[0] if address else None


def _slashed(address: str) -> str:
    return address if address.endswith("/") else f"{address}/"

"""The ISIC Archive's public interface: its addresses, pages of images, and what one image's entry tells.

Sources: the archive's public server, https://github.com/ImageMarkup/isic, its version 2 interface.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from melascope.errors import DataError
from melascope.fetch.client import Client, RefusedError
from melascope.images import EXTENSIONS

_API = "https://api.isic-archive.com/api/v2/"
_FILES = "https://isic-archive.s3.amazonaws.com/"
_OLD_CHALLENGES = "https://isic-challenge-data.s3.amazonaws.com/"
PAGE_SIZE = 100  # images; the archive gives no larger page
_ID = re.compile(r"ISIC_\d{7,}")


@dataclass(frozen=True)
class Addresses:
    """Where the archive is; each ends in a slash."""

    api: str = _API
    files: str = _FILES
    """Holds `images/`, `snapshots/` and `challenges/`."""
    old_challenges: str | None = _OLD_CHALLENGES
    """Where the challenges were until 2025."""

    @classmethod
    def known(cls) -> "Addresses":
        """The archive's own, or a mirror's: `MELASCOPE_ISIC_API` and `MELASCOPE_ISIC_FILES`."""
        api, held = os.environ.get("MELASCOPE_ISIC_API"), os.environ.get("MELASCOPE_ISIC_FILES")
        if not api and not held:
            return cls()
        return cls(_slashed(api or _API), _slashed(held or _FILES), None if held else _OLD_CHALLENGES)


@dataclass(frozen=True)
class Entry:
    """One image of the archive."""

    isic_id: str
    license: str
    attribution: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What is known besides, by the archive's names; nothing that is not known."""
    url: str | None = None
    """None: at the usual place."""
    size: int | None = None
    """Bytes, where the listing tells."""


@dataclass(frozen=True)
class Page:
    """Some entries, and where the next ones are."""

    entries: list[Entry]
    cursor: str | None
    count: int | None = None
    """Of all pages, which only the first one tells."""


class Archive:
    """What can be asked of the archive. Every question raises what `Client.ask` raises."""

    def __init__(self, client: Client, addresses: Addresses) -> None:
        self.client = client
        self.at = addresses

    def pages(
        self, query: str, collections: Sequence[int] = (), cursor: str | None = None, limit: int = PAGE_SIZE
    ) -> Iterator[Page]:
        """The pages of a search, from a cursor on.

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
                raise DataError(f"{self.at.api}images/search/: its pages repeat without end; try again later")
            seen.add(cursor)

    def _page(self, query: str, collections: Sequence[int], cursor: str | None, limit: int) -> Page:
        asked = {**_search(query, collections), "limit": limit, **({"cursor": cursor} if cursor else {})}
        try:
            told = self.client.json(f"{self.at.api}images/search/?{urlencode(asked)}")
        except RefusedError as error:
            if error.status != 400:
                raise
            raise DataError(
                f"{query}: the archive cannot read this query{f' ({error.detail})' if error.detail else ''}; write "
                "field:value with AND, OR, - and parentheses, such as 'diagnosis_1:Malignant AND age_approx:[50 TO "
                "70]'; fields and values: https://www.isic-archive.com/data-dictionary"
            ) from error
        try:
            entries = [_entry(image) for image in told["results"]]
            return Page(entries, _cursor(told.get("next")), told.get("count"))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"{self.at.api}images/search/: an answer in an unknown form ({error!r})"
            ) from error

    def size(self, query: str, collections: Sequence[int] = ()) -> int | None:
        """Bytes of all images of a search; None where the archive does not say."""
        try:
            told = self.client.json(
                f"{self.at.api}images/search/size/?{urlencode(_search(query, collections))}"
            )
            return int(told["size"])
        except (RefusedError, KeyError, TypeError, ValueError):
            return None

    def entry(self, isic_id: str) -> Entry:
        """One image's entry, with an address that is good now."""
        return _entry(self.client.json(f"{self.at.api}images/{isic_id}/"))

    def collection(self, number: int) -> str:
        """A collection's name.

        Raises:
            DataError: if there is none of that number, or it is not public.
        """
        try:
            return str(self.client.json(f"{self.at.api}collections/{number}/")["name"])
        except RefusedError as error:
            raise DataError(
                f"--collections {number}: the archive has no public collection {number}"
            ) from error

    def license_address(self, license_: str) -> str:
        """Where the text of a licence is."""
        return f"{self.at.api}zip-download/license-file/{license_}/"

    def image_address(self, entry: Entry) -> str:
        """Where an image is."""
        return entry.url or f"{self.at.files}images/{entry.isic_id}.jpg"

    def snapshot_address(self) -> str:
        """Where the ZIP of all public images is."""
        return f"{self.at.files}snapshots/ISIC_images.zip"


def file_name(entry: Entry) -> str:
    """What an image's file is called: its id, with the extension of its address."""
    suffix = PurePosixPath(urlsplit(entry.url or "").path).suffix.lower()
    return entry.isic_id + (suffix if suffix in EXTENSIONS else ".jpg")


def checked_id(isic_id: object) -> str:
    """An id of the archive, which becomes a file's name and so may be nothing else.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(isic_id, str) or not _ID.fullmatch(isic_id):
        raise ValueError(f"{isic_id!r} is no id of the ISIC Archive")
    return isic_id


def _search(query: str, collections: Sequence[int]) -> dict[str, str]:
    return {"query": query, **({"collections": ",".join(map(str, collections))} if collections else {})}


def _entry(image: Mapping[str, Any]) -> Entry:
    metadata = image.get("metadata") or {}
    told = {**(metadata.get("acquisition") or {}), **(metadata.get("clinical") or {})}
    full = (image.get("files") or {}).get("full") or {}
    return Entry(
        checked_id(image["isic_id"]),
        str(image.get("copyright_license") or ""),
        str(image.get("attribution") or ""),
        {name: value for name, value in told.items() if value is not None},
        full.get("url"),
        int(full["size"]) if full.get("size") else None,
    )


def _cursor(address: str | None) -> str | None:
    # Only the cursor is taken of it: behind a mirror, the archive does not know its own address.
    return parse_qs(urlsplit(address).query).get("cursor", [None])[0] if address else None


def _slashed(address: str) -> str:
    return address if address.endswith("/") else f"{address}/"

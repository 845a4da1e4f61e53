"""`listing.jsonl`: the images that a fetch is to download, kept until all are there, so that it can resume.

The first line holds the selection; each further line is one page of the archive's listing.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from melascope.errors import DataError
from melascope.fetch.isic_api import Entry, Page

NAME = "listing.jsonl"


@dataclass(frozen=True)
class Selection:
    """The images that a user wants of the archive."""

    query: str
    """In the archive's query language."""
    collections: tuple[int, ...] = ()
    limit: int | None = None
    licenses: tuple[str, ...] = ()
    """Images under other licences are left out, should the archive list any."""


class Listing:
    """The listing of one raw folder, each image once.

    Args:
        folder: the raw folder.
        selection: the images to list.

    Raises:
        DataError: if the folder holds the listing of another, unfinished fetch.
    """

    def __init__(self, folder: Path, selection: Selection) -> None:
        self.path = folder / NAME
        self._selection = selection
        self.complete = False
        """Whether every page is here."""
        self.cursor: str | None = None
        """Of the next page."""
        self.counted: int | None = None
        """How many images the archive announced."""
        self.size: int | None = 0
        """Bytes of the listed images; None if the size of any is not known."""
        self._ids: set[str] = set()
        head = {"asked": asdict(selection)}
        if not self._read(head):
            with open(self.path, "wb") as file:
                file.write(_line(head))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def expected(self) -> int:
        """How many images it will hold, as far as is known."""
        return min(self._selection.limit or sys.maxsize, self.counted or len(self))

    def add(self, page: Page) -> None:
        """Add the images of a page, except those listed before, under other licences, or beyond the limit."""
        licenses, limit = self._selection.licenses, self._selection.limit
        new = {
            entry.isic_id: vars(entry)
            for entry in page.entries
            if entry.isic_id not in self._ids and (not licenses or entry.license in licenses)
        }
        entries = list(new.values())[: None if limit is None else limit - len(self)]
        full = limit is not None and len(self) + len(entries) >= limit
        line = {"next": None if full else page.cursor, "count": page.count, "entries": entries}
        with open(self.path, "ab") as file:
            file.write(_line(line))
        self._count(line)

    def entries(self) -> Iterator[Entry]:
        """The listed images, in the archive's order."""
        with open(self.path, "rb") as file:
            next(file)
            for line in file:
                for entry in json.loads(line)["entries"]:
                    yield Entry(**entry)

    def delete(self) -> None:
        """Delete the file: all images are there, or must be listed again."""
        self.path.unlink(missing_ok=True)

    def _read(self, head: dict[str, Any]) -> bool:
        """Take up the listing in the folder, without half a line that a killed process left."""
        try:
            with open(self.path, "r+b") as file:
                first = file.readline()
                if not first.endswith(b"\n"):
                    return False
                if first != _line(head):
                    other = json.loads(first)["asked"]
                    raise DataError(
                        f"{self.path}: belongs to another, unfinished fetch ({_described(other)}); finish that with "
                        "its own command, delete this file to give it up, or give another --out"
                    )
                end = len(first)
                while (line := file.readline()).endswith(b"\n"):
                    self._count(json.loads(line))
                    end += len(line)
                file.truncate(end)
        except FileNotFoundError:
            return False
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{self.path}: not a listing; delete it") from error
        return True

    def _count(self, line: dict[str, Any]) -> None:
        self.cursor, self.complete = line["next"], line["next"] is None
        self.counted = line["count"] if self.counted is None else self.counted
        for entry in line["entries"]:
            self._ids.add(entry["isic_id"])
            self.size = None if self.size is None or entry["size"] is None else self.size + entry["size"]


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, default=str).encode() + b"\n"


def _described(selection: dict[str, Any]) -> str:
    options = (name for name in ("collections", "limit", "licenses") if selection[name])
    return ", ".join([selection["query"], *(f"{name} {selection[name]}" for name in options)])

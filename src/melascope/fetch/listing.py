"""`listing.jsonl`: what a fetch is to bring, kept until all of it is there, so that a killed fetch goes on.

The first line says what was asked; each further line is one page of the archive's answer, kept as it came.
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
class Asked:
    """What a user wants of the archive."""

    query: str
    """In the archive's words."""
    collections: tuple[int, ...] = ()
    limit: int | None = None
    licenses: tuple[str, ...] = ()

    def wants(self, entry: Entry) -> bool:
        """Whether an image has one of the licences that were asked for."""
        return not self.licenses or entry.license in self.licenses


class Listing:
    """The listing of one raw folder, each image once.

    Args:
        folder: the raw folder.
        asked: what is wanted.

    Raises:
        DataError: if the folder holds the listing of an unfinished fetch of something else.
    """

    def __init__(self, folder: Path, asked: Asked) -> None:
        self.path = folder / NAME
        self._asked = asked
        self.complete = False
        """Whether every page is here."""
        self.cursor: str | None = None
        """Where the next page is."""
        self.counted: int | None = None
        """How many images the archive said there would be."""
        self.size: int | None = 0
        """Bytes of all that is listed; None where the listing does not tell."""
        self._ids: set[str] = set()
        head = {"asked": asdict(asked)}
        if not self._read(head):
            with open(self.path, "wb") as file:
                file.write(_line(head))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def expected(self) -> int:
        """How many images it will hold, as far as is known."""
        return min(self._asked.limit or sys.maxsize, self.counted or len(self))

    def add(self, page: Page) -> None:
        """Keep a page; what was listed before, has another licence or is beyond the limit is left out."""
        entries = {e.isic_id: e for e in page.entries if e.isic_id not in self._ids and self._asked.wants(e)}
        room = None if self._asked.limit is None else self._asked.limit - len(self)
        kept = [vars(entry) for entry in entries.values()][:room]
        full = self._asked.limit is not None and len(self) + len(kept) >= self._asked.limit
        told = {"next": None if full else page.cursor, "count": page.count, "entries": kept}
        with open(self.path, "ab") as file:
            file.write(_line(told))
        self._note(told)

    def entries(self) -> Iterator[Entry]:
        """What is listed, in the archive's order."""
        with open(self.path, "rb") as file:
            next(file)
            for line in file:
                for entry in json.loads(line)["entries"]:
                    yield Entry(**entry)

    def forget(self) -> None:
        """Take the listing away: all of it is there, or it must be made anew."""
        self.path.unlink(missing_ok=True)

    def _read(self, head: dict[str, Any]) -> bool:
        """Take up the listing that is here, without a last line that a kill tore."""
        try:
            with open(self.path, "r+b") as file:
                first = file.readline()
                if not first.endswith(b"\n"):
                    return False
                if first != _line(head):
                    before = json.loads(first)["asked"]
                    raise DataError(
                        f"{self.path}: a fetch of something else is not finished here ({_words(before)}); finish it "
                        "with the same command, delete this file to give it up, or give another --out"
                    )
                end = len(first)
                while (line := file.readline()).endswith(b"\n"):
                    self._note(json.loads(line))
                    end += len(line)
                file.truncate(end)
        except FileNotFoundError:
            return False
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{self.path}: not a listing; delete it") from error
        return True

    def _note(self, told: dict[str, Any]) -> None:
        self.cursor, self.complete = told["next"], told["next"] is None
        self.counted = told["count"] if self.counted is None else self.counted
        for entry in told["entries"]:
            self._ids.add(entry["isic_id"])
            self.size = None if self.size is None or entry["size"] is None else self.size + entry["size"]


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, default=str).encode() + b"\n"


def _words(asked: dict[str, Any]) -> str:
    extra = "".join(f", {name} {asked[name]}" for name in ("collections", "limit", "licenses") if asked[name])
    return f"{asked['query']}{extra}"

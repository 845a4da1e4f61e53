"""`metadata.csv` and `attribution.txt` in the archive's form, written without holding them in memory.

Columns: isic_id, attribution, copyright_license, then the other fields in use, sorted; rows sorted by isic_id. As in
the archive, a cell that begins with =, +, - or @ gets a leading TAB, so that no spreadsheet reads it as a formula.
"""

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from melascope import files
from melascope.errors import DataError
from melascope.fetch.isic_api import Entry

TABLE, CREDITS, LICENSES = "metadata.csv", "attribution.txt", "licenses"
_BASE = ("isic_id", "attribution", "copyright_license")
_ANONYMOUS = "Anonymous"


def write(folder: Path, entries: Iterable[Entry]) -> list[str]:
    """Write both files; rows of other images in an existing `metadata.csv` are kept.

    Returns:
        The licences of the images, sorted.

    Raises:
        DataError: if an existing `metadata.csv` has another form, or a file cannot be written.
    """
    try:
        with closing(sqlite3.connect("")) as rows:  # sorts on disk, in a temporary file
            return _write(folder, entries, rows)
    except sqlite3.Error as error:
        raise DataError(
            f"{folder / TABLE}: cannot be sorted ({error}); is the disk for temporary files full?"
        ) from error


def _write(folder: Path, entries: Iterable[Entry], rows: sqlite3.Connection) -> list[str]:
    rows.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, cells TEXT) WITHOUT ROWID")
    for source in (_existing(folder / TABLE), map(_cells, entries)):
        pairs = ((cells["isic_id"], json.dumps(cells)) for cells in source)
        rows.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", pairs)
    credits_: Counter[str] = Counter()
    fields: set[str] = set()
    licenses: set[str] = set()
    for cells in _sorted(rows):
        fields |= cells.keys()
        credits_[cells["attribution"]] += 1
        licenses |= {cells["copyright_license"]} - {""}
    columns = [*_BASE, *sorted(fields - set(_BASE))]
    with files.replacing(folder / TABLE) as beside, open(beside, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        for cells in _sorted(rows):
            writer.writerow([_guarded(cells.get(column, "")) for column in columns])
    files.write_text(folder / CREDITS, "\n\n".join(_credits(credits_)))
    return sorted(licenses)


def _cells(entry: Entry) -> dict[str, str]:
    return {
        **{name: str(value) for name, value in entry.fields.items()},
        "isic_id": entry.isic_id,
        "attribution": entry.attribution,
        "copyright_license": entry.license,
    }


def _existing(path: Path) -> Iterator[dict[str, str]]:
    if not path.exists():
        return
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if not set(_BASE) <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: not a metadata table of the archive; give another --out")
            for row in reader:
                cells = {name: value.removeprefix("\t") for name, value in row.items() if name and value}
                yield {**dict.fromkeys(_BASE, ""), **cells}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); move it away") from error


def _sorted(rows: sqlite3.Connection) -> Iterator[dict[str, str]]:
    for (cells,) in rows.execute("SELECT cells FROM rows ORDER BY id"):
        yield json.loads(cells)


def _guarded(cell: str) -> str:
    return f"\t{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def _credits(counted: Mapping[str, int]) -> list[str]:
    """The names to be credited: most images first, "Anonymous" last."""
    return sorted(filter(None, counted), key=lambda name: (name == _ANONYMOUS, -counted[name], name))

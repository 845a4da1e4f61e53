"""A CSV file as rows of named cells, in the dialect of any program."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from melascope import files
from melascope.errors import DataError, ImageError

Row = Mapping[str, str]

_ID = re.compile(r"ISIC_\d+", re.IGNORECASE)
_BLANKS = re.compile(r"[\s-]+")


@dataclass(frozen=True)
class Table:
    """Cells as text: leading and trailing blanks are gone, and with them the archive's guarding TAB."""

    locator: str
    columns: tuple[str, ...]
    """Lower case, blanks as underscores; `image` and `label` where the file has no header line."""
    headless: bool
    rows: list[tuple[int, dict[str, str]]]
    """Line number in the file, and the cells by column."""
    broken: list[tuple[int, str]]
    """Line number and reason of each line that is not a row."""


def read_table(locator: str) -> Table:
    """Read a CSV file: comma, semicolon or TAB between cells, UTF-8, UTF-16 or Latin-1.

    Raises:
        DataError: if it cannot be read or holds no row.
    """
    try:
        text = _text(files.read(locator))
    except ImageError as error:
        raise DataError(str(error)) from error
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    # The first cell may be guarded by a TAB, so that a TAB must win clearly.
    if delimiter == "\t" and first.count("\t") < 2 and not re.search(r"\S\t\S", first):
        delimiter = ","
    rows: list[tuple[int, dict[str, str]]] = []
    broken: list[tuple[int, str]] = []
    columns: tuple[str, ...] = ()
    headless = False
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if not columns:
                headless = _ID.match(values[0]) is not None and len(values) == 2
                columns = ("image", "label") if headless else tuple(map(_column, values))
                if not headless:
                    continue
            if len(values) > len(columns) and not any(values[len(columns) :]):
                values = values[: len(columns)]
            if len(values) != len(columns):
                broken.append((reader.line_num, f"{len(values)} cells instead of {len(columns)}"))
            else:
                rows.append((reader.line_num, dict(zip(columns, values, strict=True))))
    except csv.Error as error:
        raise DataError(f"{locator}: not a CSV table ({error})") from error
    if not rows and not broken:
        raise DataError(f"{locator}: holds no rows")
    return Table(locator, columns, headless, rows, broken)


def _text(data: bytes) -> str:
    encodings = (
        ("utf-16", "latin-1") if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "latin-1")
    )
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    raise AssertionError("Latin-1 decodes everything")


def _column(name: str) -> str:
    return _BLANKS.sub("_", name.strip().lower())

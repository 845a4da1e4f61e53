"""Source layouts: each kind of table recognises itself by its columns and yields facts, row by row.

To add one, write a `Layout` and put it into `LAYOUTS`, the most specific first: earlier layouts take precedence.
"""

from melascope.errors import DataError
from melascope.prepare.layouts import challenges, collections
from melascope.prepare.layouts.facts import Layout
from melascope.prepare.layouts.table import Table

LAYOUTS: tuple[Layout, ...] = (*collections.LAYOUTS, *challenges.LAYOUTS, collections.PLAIN)
DUPLICATES = ("image_name_1", "image_name_2")  # the official list of ISIC 2020


def recognise(table: Table) -> int:
    """Give the layout of a table; its place in `LAYOUTS` is its rank.

    Raises:
        DataError: if there is none; names the table's columns and those that would be accepted.
    """
    for rank, layout in enumerate(LAYOUTS):
        if layout.recognises(table):
            return rank
    columns = "no header line" if table.headless else ", ".join(table.columns[:12])
    accepted = "; ".join(f"{layout.name} ({layout.accepts})" for layout in LAYOUTS)
    raise DataError(f"{table.locator}: unknown columns: {columns}. Accepted: {accepted}")


def lists_duplicates(table: Table) -> bool:
    """Whether it is the official list of duplicate pairs."""
    return set(DUPLICATES) <= set(table.columns)

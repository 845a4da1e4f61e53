"""Columns of text on a terminal."""

import re
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral

_NUMBER = re.compile(r"-|-?[\d,.]+( %)?")


def table(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    r"""Rows as lines. A column is as wide as its widest cell, and on the right if it holds numbers.

    Args:
        rows: of one length each; the first is the header.

    >>> print(*table([("split", "images"), ("train", 1562), ("test", 120)]), sep="\n")
    split  images
    train   1,562
    test      120
    """
    texts = [[format(cell, ",") if isinstance(cell, Integral) else str(cell) for cell in row] for row in rows]
    columns = list(zip(*texts, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]
    for row in texts:
        cells = zip(row, widths, right, strict=True)
        yield "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width) for cell, width, at_right in cells
        ).rstrip()

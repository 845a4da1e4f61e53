"""Filters of the templates: figures, shares and counts as a page shows them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from melascope.intervals import Figure
from melascope.labels import NOT_RECORDED

_MAX_NAMED = 12  # values, such as diagnoses, whose counts are shown one by one
_SIGN = "\u00a0%"  # no line ends before the sign

Document = Mapping[str, Any] | None
"""A figure as `metrics.json` holds it, or None where there is none."""


def count(n: int) -> str:
    """A number of images: `1,982`."""
    return f"{n:,}"


def percent(share: float, digits: int = 0) -> str:
    """A share without an interval: `95 %`."""
    return f"{100 * share:.{digits}f}{_SIGN}"


def figure(document: Document, spec: str = ".3f") -> str:
    """A figure in a sentence: `0.923 (0.911 to 0.934)`."""
    return format(Figure.of(document), spec)


def cell(document: Document, spec: str = ".3f") -> Markup:
    """A figure in a table: the interval, or the reason why there is no value, stands below in small letters."""
    shown = Figure.of(document)
    value, below = shown.texts(spec)
    if shown.value is None:
        value, below = Markup('<span class="muted">{}</span>').format(value), shown.reason or ""
    return Markup("{} <small>{}</small>").format(value, below) if below else Markup("{}").format(value)


def texts(document: Document, spec: str = ".3f") -> tuple[str, str]:
    """A figure and its interval, or the reason why there is none, to be set apart from each other."""
    shown = Figure.of(document)
    value, interval = shown.texts(spec)
    return value, f"{interval}: {shown.reason}" if shown.low is None and shown.reason else interval


def complement(document: Document) -> dict[str, Any]:
    """The share of the others: of 1 minus the share."""
    shown = Figure.of(document)
    value, high, low = (None if x is None else 1 - x for x in (shown.value, shown.low, shown.high))
    return replace(shown, value=value, low=low, high=high).document()


def hundred(document: Document) -> str:
    """A share as a number of 100: `about 91 (95 % interval 88 to 93)`."""
    shown = Figure.of(document)
    value, interval = shown.texts(".0%")
    why = f"no interval: {shown.reason}" if shown.low is None else f"95{_SIGN} interval {interval}"
    return f"about {value.removesuffix(_SIGN)} ({why})"


def points(document: Document) -> str:
    """A difference of two shares: `+1.2 percentage points (95 % interval +0.3 to +2.0)`."""
    value, interval = Figure.of(document).texts("+.1%")
    return f"{value.removesuffix(_SIGN)} percentage points (95{_SIGN} interval {interval})"


def tally(counts: dict[str, int]) -> str:
    """Counts of values, the most frequent first: `nevus 983 (52 %), melanoma 280 (15 %)`."""
    if set(counts) <= {NOT_RECORDED}:
        return NOT_RECORDED
    total = sum(counts.values())
    return ", ".join(f"{value} {n:,} ({percent(n / total)})" for value, n in shortened(counts))


def shortened(counts: dict[str, int]) -> list[tuple[str, int]]:
    """The first counts, and the sum of the others where there are many."""
    named = list(counts.items())
    if len(named) <= _MAX_NAMED + 1:
        return named
    rest = named[_MAX_NAMED:]
    return [*named[:_MAX_NAMED], (f"{len(rest)} others", sum(n for _, n in rest))]


def split_of(data: Mapping[str, Any]) -> Markup:
    """Which images a figure is over: `the test split of <code>data/</code>`."""
    split = "all splits" if data["split"] == "all" else f"the {data['split']} split"
    return Markup("{} of <code>{}</code>").format(split, data["name"])


ALL = (count, percent, figure, cell, texts, complement, hundred, points, tally, shortened, split_of)

"""Searches as the ISIC Archive does them: the queries that tests use, and pages that end between ties."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, urlencode

_FIELDS = {"public", "isic_id", "copyright_license", "image_type", "sex", "age_approx"}
_FIELDS |= {f"{name}_{level}" for name in ("diagnosis", "anatom_site") for level in range(1, 6)}
_TOKEN = re.compile(r'\s*(?:([()])|(AND|OR)\b|(-?)(\w+):(\[[^]}]*[]}]|\{[^]}]*[]}]|"[^"]+"|[\w*-]+))\s*')
_RANGE = re.compile(r"([\[{])(\S+) TO (\S+)([\]}])")
Test = Callable[[dict[str, Any]], bool]


class QueryError(ValueError):
    """The archive cannot read this query."""


def search(images, query, collections=""):
    """The images of a query, in the archive's order.

    Raises:
        QueryError: if it cannot be read.
    """
    wanted = {int(number) for number in re.findall(r"\d+", collections)}
    test = _parsed(query) if query.strip() else lambda _: True
    chosen = (image for image in images if not wanted or wanted & set(image.collections))
    return sorted((image for image in chosen if test(image.fields)), key=lambda image: image.created)


def _parsed(query):
    tokens, at = [], 0
    while at < len(query):
        if not (token := _TOKEN.match(query, at)):
            raise QueryError(query[at:])
        tokens.append(token.groups())
        at = token.end()
    test = _any(tokens)
    if tokens:
        raise QueryError(tokens)
    return test


def _any(tokens):
    tests = [_all(tokens)]
    while tokens and tokens[0][1] == "OR":
        del tokens[0]
        tests.append(_all(tokens))
    return lambda fields: any(test(fields) for test in tests)


def _all(tokens):
    tests = [_unit(tokens)]
    while tokens and tokens[0][1] == "AND":
        del tokens[0]
        tests.append(_unit(tokens))
    return lambda fields: all(test(fields) for test in tests)


def _unit(tokens):
    bracket, word, minus, name, value = tokens.pop(0) if tokens else (")", "", "", "", "")
    if bracket == "(":
        test = _any(tokens)
        if not tokens or tokens.pop(0)[0] != ")":
            raise QueryError("no closing parenthesis")
        return test
    if bracket or word or name not in _FIELDS:
        raise QueryError(bracket or word or name)
    return lambda fields: (name in fields and _matches(fields[name], value.strip('"'))) != bool(minus)


def _matches(value, wanted):
    if not (bounds := _RANGE.fullmatch(wanted)):
        return fnmatchcase(str(value), wanted)
    opening, low, high, closing = bounds.groups()
    above = low == "*" or value > float(low) or (opening == "[" and value == float(low))
    below = high == "*" or value < float(high) or (closing == "]" and value == float(high))
    return above and below


@dataclass(frozen=True)
class Cursor:
    """Images to skip, among those that were created after a time."""

    offset: int = 0
    after: str | None = None

    @classmethod
    def decoded(cls, text):
        words = parse_qs(base64.b64decode(text or "").decode())
        return cls(int(words.get("o", ["0"])[0]), words.get("p", [None])[0])

    def encoded(self):
        words = {"o": self.offset or None, "p": self.after}
        return base64.b64encode(urlencode({k: v for k, v in words.items() if v}).encode()).decode()


def page_of(images, limit, cursor):
    """One page of images in order, and the cursor of the next."""
    rows = [image for image in images if cursor.after is None or image.created > cursor.after]
    page, more = rows[cursor.offset : cursor.offset + limit], rows[cursor.offset + limit :]
    if not more:
        return page, None
    for ties, image in enumerate(reversed(page)):
        if image.created != more[0].created:
            return page, Cursor(ties, image.created)
    return page, Cursor(cursor.offset + limit, cursor.after)

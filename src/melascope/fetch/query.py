"""The archive's query language, read well enough to be answered from a table, and old queries made new.

    query    = any
    any      = all { "OR" all }
    all      = unit { "AND" unit }
    unit     = "(" any ")" | term { term }                        terms side by side must all hold
    term     = ["-"] field ":" value                              a negated term holds where the value is missing
    value    = word | '"' text '"' | "*" | range                  `Mela*` and `*noma` for the start and the end
    range    = ("[" | "{") bound "TO" bound ("]" | "}")           `{` and `}` leave the bound out, `*` is open

Source: `isic/core/dsl.py` of the archive's public server.
"""

import re
from dataclasses import dataclass
from typing import Literal

TEXT = frozenset(
    {
        "isic_id",
        "copyright_license",
        "sex",
        "image_type",
        "dermoscopic_type",
        "image_manipulation",
        "color_tint",
        "tbp_tile_type",
        "diagnosis_confirm_type",
        "fitzpatrick_skin_type",
        "mel_mitotic_index",
        "anatom_site_special",
        "patient_id",
        "lesion_id",
        "rcm_case_id",
        *(f"anatom_site_{level}" for level in range(1, 6)),
        *(f"diagnosis_{level}" for level in range(1, 6)),
    }
)
NUMBERS = frozenset({"age_approx", "clin_size_long_diam_mm", "mel_thick_mm"})
FLAGS = frozenset(
    {
        "public",
        "melanocytic",
        "concomitant_biopsy",
        "personal_hx_mm",
        "family_hx_mm",
        "mel_ulcer",
        "blurry",
        "hairy",
        "marker_pen",
    }
)
FIELDS = TEXT | NUMBERS | FLAGS
LICENSES = ("CC-0", "CC-BY", "CC-BY-NC")

_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_TERM = re.compile(r"(-?)\s*([a-z_0-9]+)\s*:\s*")
_STAR = re.compile(r"\*")
_WORD = re.compile(r'([A-Za-z0-9*_-]+)|"([^"\n]+)"')
_BOUND = re.compile(_NUMBER)
_RANGE = re.compile(rf"([\[{{])\s*({_NUMBER}|\*)\s*TO\s*({_NUMBER}|\*)\s*([\]}}])")
_FLAG = re.compile(r"true|false")
_OPEN, _CLOSE = re.compile(r"\("), re.compile(r"\)")
_BETWEEN = {word: re.compile(rf"(?<![\w$]){word}(?![\w$])") for word in ("AND", "OR")}
_ALIASES = {"clinical": "clinical: close-up", "overview": "clinical: overview"}  # of image_type


@dataclass(frozen=True)
class Term:
    """One field and what it must be."""

    field: str
    how: Literal["present", "equals", "starts", "ends", "within"]
    value: str | float | bool | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    """Of a range; None is open."""
    closed: tuple[bool, bool] = (True, True)
    negated: bool = False


@dataclass(frozen=True)
class Group:
    """Several parts of which all, or any, must hold."""

    how: Literal["all", "any"]
    parts: tuple["Query", ...]


Query = Term | Group


class QueryError(ValueError):
    """The archive may understand this query; the parser here does not."""


class UnsuitedError(Exception):
    """A table cannot answer this query."""


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        QueryError: with the place where reading stopped.
    """
    try:
        return _Parser(text.strip()).query()
    except RecursionError as error:
        raise QueryError("too many parentheses") from error


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def query(self) -> Query:
        found = self._any()
        if self._at < len(self._text):
            raise self._stuck()
        return found

    def _stuck(self) -> QueryError:
        rest = self._text[self._at :]
        return QueryError(f"from {rest[:30]!r} on" if rest else "it ends too early")

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What stands here, if it is this; blanks around it are passed over."""
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
        return found

    def _any(self) -> Query:
        parts = [self._all()]
        while self._take(_BETWEEN["OR"]):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Group("any", tuple(parts))

    def _all(self) -> Query:
        parts = [self._unit()]
        while self._take(_BETWEEN["AND"]):
            parts.append(self._unit())
        return parts[0] if len(parts) == 1 else Group("all", tuple(parts))

    def _unit(self) -> Query:
        if self._take(_OPEN):
            inside = self._any()
            if not self._take(_CLOSE):
                raise self._stuck()
            return inside
        terms: list[Query] = []
        while found := self._take(_TERM):
            terms.append(self._term(found[2], negated=found[1] == "-"))
        if not terms:
            raise self._stuck()
        return terms[0] if len(terms) == 1 else Group("all", tuple(terms))

    def _term(self, field: str, negated: bool) -> Term:
        if field in TEXT and (found := self._take(_WORD)):
            return _text(field, found[1] or found[2], negated)
        if field in NUMBERS | FLAGS and self._take(_STAR):
            return Term(field, "present", negated=negated)
        if field in NUMBERS and (found := self._take(_RANGE)):
            low, high = (None if bound == "*" else float(bound) for bound in found.group(2, 3))
            closed = found[1] == "[", found[4] == "]"
            return Term(field, "within", bounds=(low, high), closed=closed, negated=negated)
        if field in NUMBERS and (found := self._take(_BOUND)):
            return Term(field, "equals", float(found[0]), negated=negated)
        if field in FLAGS and (found := self._take(_FLAG)):
            return Term(field, "equals", found[0] == "true", negated=negated)
        raise self._stuck()


def _text(field: str, word: str, negated: bool) -> Term:
    if field == "image_type":
        word = _ALIASES.get(word, word)
    if word == "*":
        return Term(field, "present", negated=negated)
    if word.startswith("*"):
        return Term(field, "ends", word[1:], negated=negated)
    if word.endswith("*"):
        return Term(field, "starts", word[:-1], negated=negated)
    return Term(field, "equals", word, negated=negated)

"""How easy the prose of Markdown files is to read.

For each file: words per sentence, share of sentences over 35 words, commas and semicolons per sentence. Headings
(also in bold, at the beginning of a paragraph), tables, code, HTML and list items without a full stop are not prose.
Fails where sentences are long, where one line holds two of them, and where one is broken over two lines.

    python tools/prose.py README.md docs/guides/*.md
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

MAX_MEAN = 17
MANY_WORDS = 35
MAX_SHARE_OF_LONG = 0.05

_ABBREVIATIONS = ("al.", "approx.", "cf.", "Dr.", "e.g.", "etc.", "Fig.", "i.e.", "No.", "vs.", "vol.")
_OPENING, _CLOSING = "\"'\N{LEFT DOUBLE QUOTATION MARK}(", "\"'\N{RIGHT DOUBLE QUOTATION MARK})"
_END = re.compile(rf"[.!?:…][{_CLOSING}]*$")
_BOUNDARY = re.compile(rf"(?<=[.!?…])[{_CLOSING}]*\s+(?=[{_OPENING}]?[A-Z0-9])")


@dataclass(frozen=True)
class Prose:
    """Sentences of one file, and what is wrong with its lines."""

    sentences: list[str]
    faults: list[str]

    @property
    def mean(self) -> float:
        """Words per sentence."""
        return sum(map(words, self.sentences)) / max(len(self.sentences), 1)

    @property
    def long(self) -> float:
        """Share of sentences of more than `MANY_WORDS` words."""
        return sum(words(sentence) > MANY_WORDS for sentence in self.sentences) / max(len(self.sentences), 1)

    @property
    def commas(self) -> float:
        """Commas and semicolons per sentence, those within numbers left out."""
        marks = sum(len(re.findall(r"[,;](?!\d)", sentence)) for sentence in self.sentences)
        return marks / max(len(self.sentences), 1)


def words(sentence: str) -> int:
    """Number of words; a number counts as one, a lone sign as none."""
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text in order.

    >>> list(sentences("It took 0.5 s (Li et al. 2019). Of 95 %, e.g. None, all hold!"))
    ['It took 0.5 s (Li et al. 2019).', 'Of 95 %, e.g. None, all hold!']
    """
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        last = text[start : boundary.start()].rsplit(maxsplit=1)[-1].lstrip(_OPENING)
        initial = re.fullmatch(r"[A-Z]\.", last)
        if last not in _ABBREVIATIONS and not initial:
            yield text[start : boundary.end()].strip()
            start = boundary.end()
    if text[start:].strip():
        yield text[start:].strip()


def paragraphs(markdown: str) -> Iterator[tuple[int, bool, list[str]]]:
    """Number of the first line, whether it stands in a list, and lines as a reader sees them, of each paragraph."""
    depth, block = 0, ""
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in {"list_item_open", "list_item_close"}:
            depth += token.nesting
        elif token.type == "inline" and block == "paragraph_open":
            yield (token.map or [0])[0] + 1, depth > 0, _shown(token.children or []).split("\n")
        block = token.type


def _shown(children: list[Token]) -> str:
    kinds = [child.type for child in children]
    if kinds[:2] == ["text", "strong_open"] and not children[0].content:
        end = kinds.index("strong_close")
        if children[end - 1].content.endswith("."):
            children = children[end + 1 :]
    shown = {"softbreak": "\n", "hardbreak": "\n", "code_inline": "Code"}
    return "".join(shown.get(child.type, child.content if child.type == "text" else "") for child in children)


def read(path: Path) -> Prose:
    """Read the prose of one file."""
    every: list[str] = []
    faults: list[str] = []
    for number, in_list, lines in paragraphs(path.read_text(encoding="utf-8")):
        for offset, line in enumerate(lines):
            whole = list(sentences(line))
            if len(whole) > 1:
                faults.append(f"{path}:{number + offset}: two sentences on one line")
            if words(line) and offset < len(lines) - 1 and not _END.search(line):
                faults.append(f"{path}:{number + offset}: a sentence is broken over two lines")
        every += [s for s in sentences(" ".join(lines)) if _END.search(s) or not in_list]
    return Prose(every, faults)


def main() -> None:
    """Print the figures of each file, and end with 1 where one is out of bounds."""
    parser = argparse.ArgumentParser(description="How easy the prose of Markdown files is to read.")
    parser.add_argument("paths", nargs="+", type=Path)
    faults: list[str] = []
    print(f"{'words':>6}{f'>{MANY_WORDS}':>6}{'commas':>8}")
    for path in parser.parse_args().paths:
        prose = read(path)
        print(f"{prose.mean:6.1f}{prose.long:6.0%}{prose.commas:8.1f}  {path}")
        faults += prose.faults
        if prose.mean > MAX_MEAN:
            faults.append(f"{path}: {prose.mean:.1f} words per sentence; at most {MAX_MEAN}")
        if prose.long > MAX_SHARE_OF_LONG:
            faults.append(
                f"{path}: {prose.long:.0%} of sentences have over {MANY_WORDS} words; at most {MAX_SHARE_OF_LONG:.0%}"
            )
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

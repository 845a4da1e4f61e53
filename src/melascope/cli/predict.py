"""`melascope predict`: an answer or a refusal for each image."""

import csv
import io
import shutil
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from enum import StrEnum
from typing import Annotated

import typer

import melascope as ms
from melascope.cli.options import Images, Model, Ray, Sensitivity
from melascope.cli.progress import progress_bar
from melascope.errors import printable
from melascope.labels import NOTICE


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    images: Images,
    model: Model = None,
    format: Annotated[Format, typer.Option(help="jsonl and csv have the same fields.")] = Format.TABLE,
    sensitivity: Sensitivity = None,
    ray: Ray = None,
) -> None:
    """Classify images: a label with a calibrated probability, or a refusal with the reason.

    Of folders and ZIPs all images are taken, in sorted order, without hidden files and lesion masks. A file that you
    name is always tried.

    Exit code 0: every image was read. Exit code 1: an image could not be read. Exit code 2: wrong usage, or a folder
    without images.

    Examples:
        $ melascope predict lesion.jpg
        $ melascope predict images/ --format csv > answers.csv
        $ melascope predict lesion.jpg --model runs/first --sensitivity 0.89
    """
    from melascope.infer.answer import COLUMNS
    from melascope.prepare.tree import images_of

    locators = images_of(images)
    header, line = {
        Format.TABLE: (_HEADER, _table),
        Format.JSONL: (None, ms.Answer.json),
        Format.CSV: (_csv(COLUMNS), lambda answer: _csv(answer.row().values())),
    }[format]
    failed = False
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path that is not UTF-8 leaves as it came
    with nullcontext(_notice) if sys.stdout.isatty() else progress_bar() as progress:
        loaded = ms.load(model, sensitivity, progress)
        sys.stderr.write(f"{NOTICE}\n{loaded.card.identity}; {loaded.operating_point}\n")
        if header:
            typer.echo(header)
        for answer in loaded.stream(locators, progress, ray):
            failed = failed or answer.status == "error"
            typer.echo(line(answer))
            sys.stdout.flush()
    raise typer.Exit(1 if failed else 0)


def _csv(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


_ROW = "{:10} {:>10} {:>9} {:>8}  {}"
_HEADER = _ROW.format("answer", "confidence", "malignant", "melanoma", "image")
_INDENT = " " * 4  # of a remark, which stands under its answer


def _table(answer: "ms.Answer") -> str:
    numbers = (
        "" if value is None else f"{value:.3f}"
        for value in (answer.confidence, answer.malignant, answer.melanoma)
    )
    line = _ROW.format(answer.label or answer.status, *numbers, _short(answer.path))
    remark = answer.reason or ("weak: the other answer cannot be ruled out" if answer.weak else "")
    return f"{line}\n{_INDENT}{printable(remark)}" if remark else line


def _short(path: str) -> str:
    """A path that fits the terminal, its end kept; the whole path where the table goes to a file."""
    path = printable(path)
    room = shutil.get_terminal_size().columns - len(_HEADER) + len("image")
    return f"...{path[3 - room :]}" if sys.stdout.isatty() and len(path) > room > 3 else path


def _notice(what: str, done: int, total: int) -> None:
    # At a terminal the lines of the answers are progress enough, and a bar would run into them.
    if not done:
        sys.stderr.write(f"{what}\n")

"""`melascope predict`: an answer or a refusal for each image."""

import csv
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melascope.cli.options import MODEL, RAY
from melascope.cli.progress import progress_bar
from melascope.infer.answer import COLUMNS, Answer
from melascope.model.decision import CONFIDENCE
from melascope.prepare.tree import images_of

if TYPE_CHECKING:
    from melascope.model.card import Card

NOTE = "A research tool: it supports a clinician and never replaces one."


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    images: Annotated[list[str], typer.Argument(help="Images; folders and ZIPs are walked in sorted order.")],
    model: Annotated[Path | None, MODEL] = None,
    format: Annotated[Format, typer.Option(help="jsonl and csv have the same fields.")] = Format.TABLE,
    sensitivity: Annotated[
        float | None, typer.Option(help="Operating point of the model to use, such as 0.89 (default: 0.95).")
    ] = None,
    ray: Annotated[str | None, RAY] = None,
) -> None:
    """Answer for each image: label and calibrated probabilities, or a refusal with its reason.

    Of a folder all images are taken, but for hidden files and lesion masks; a file that is named is always
    tried. Exit code 0: every image was read; 1: at least one could not be; 2: wrong usage, or a folder
    without images.
    """
    from melascope.infer.predictor import Predictor
    from melascope.model.folder import SHIPPED

    locators = images_of(images)
    header, line = _FORMATS[format]
    failed = False
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path that is not UTF-8 leaves as it came
    with nullcontext(_notice) if sys.stdout.isatty() else progress_bar() as progress:
        predictor = Predictor.load(model or SHIPPED, progress, sensitivity)
        sys.stderr.write(f"{NOTE}\n{predictor.card.identity}; {_operating_point(predictor.card)}\n")
        if header:
            typer.echo(header)
        if ray:
            from melascope.infer import on_ray

            answers = on_ray.predict(predictor, locators, ray, progress)
        else:
            answers = predictor.predict(locators, progress)
        for answer in answers:
            failed = failed or answer.status == "error"
            typer.echo(line(answer))
            sys.stdout.flush()
    raise typer.Exit(1 if failed else 0)


def _operating_point(card: "Card") -> str:
    point = card.points["malignant"]
    sureness = (
        f"holds with {100 * CONFIDENCE:.0f} % confidence on lesions like those of its validation"
        if point.held
        else "was reached on validation, on too few lesions to be sure of it"
    )
    wanted = f"a sensitivity of {100 * point.sensitivity:.0f} %"
    return f"called malignant from {point.threshold:.3f} on: {wanted} {sureness}"


def _csv(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


_ROW = "{:10} {:>10} {:>9} {:>8}  {}"
_HEADER = _ROW.format("answer", "confidence", "malignant", "melanoma", "image")
_INDENT = " " * 4  # of a remark, which stands under its answer


def _table(answer: Answer) -> str:
    numbers = (
        "" if value is None else f"{value:.3f}"
        for value in (answer.confidence, answer.malignant, answer.melanoma)
    )
    line = _ROW.format(answer.label or answer.status, *numbers, _short(answer.path))
    remark = answer.reason or ("weak: the other answer cannot be ruled out" if answer.weak else "")
    return f"{line}\n{_INDENT}{_plain(remark)}" if remark else line


def _short(path: str) -> str:
    """A path that fits the terminal, its end kept; the whole path where the table goes to a file."""
    path = _plain(path)
    room = shutil.get_terminal_size().columns - len(_HEADER) + len("image")
    return f"...{path[3 - room :]}" if sys.stdout.isatty() and len(path) > room > 3 else path


def _plain(text: str) -> str:
    """Text without what could move a terminal's cursor: names of files are anybody's."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _notice(what: str, done: int, total: int) -> None:
    # At a terminal the lines of the answers are progress enough, and a bar would run into them.
    if not done:
        sys.stderr.write(f"{what}\n")


_FORMATS: dict[Format, tuple[str | None, Callable[[Answer], str]]] = {
    Format.TABLE: (_HEADER, _table),
    Format.JSONL: (None, Answer.json),
    Format.CSV: (_csv(COLUMNS), lambda answer: _csv(list(answer.row().values()))),
}

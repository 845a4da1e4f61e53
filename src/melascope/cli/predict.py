"""`melascope predict`: an answer or a refusal for each image."""

import csv
import io
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melascope.cli.walk import walk
from melascope.infer.answer import COLUMNS, Answer

NOTE = "A research tool: it supports a clinician and never replaces one."


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    images: Annotated[list[str], typer.Argument(help="Images; folders and ZIPs are walked in sorted order.")],
    model: Annotated[Path, typer.Option(help="A .keras file, the stem of one, or a run folder.")],
    format: Annotated[Format, typer.Option(help="jsonl and csv have the same fields.")] = Format.TABLE,
) -> None:
    """Answer for each image: label and calibrated confidence, or a refusal with its reason.

    Exit code 0: every image was read; 1: at least one could not be; 2: wrong usage.
    """
    from melascope.infer.predictor import Predictor

    predictor = Predictor.load(model)
    header, line = _FORMATS[format]
    failed = False
    for i, answer in enumerate(predictor.predict(walk(images))):
        if i == 0:
            sys.stderr.write(f"{NOTE}\n")
            if header:
                typer.echo(header)
        failed = failed or answer.status == "error"
        typer.echo(line(answer))
        sys.stdout.flush()
    raise typer.Exit(1 if failed else 0)


def _csv(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


_HEADER = f"{'answer':10} {'confidence':>10} {'malignant':>9} {'melanoma':>8}  image"


def _table(answer: Answer) -> str:
    label = answer.label or answer.status
    confidence, malignant, melanoma = (
        "" if value is None else f"{value:.3f}"
        for value in (answer.confidence, answer.malignant, answer.melanoma)
    )
    remark = answer.reason or ("weak: too close to call" if answer.weak else "")
    image = f"{answer.path}  ({remark})" if remark else answer.path
    return f"{label:10} {confidence:>10} {malignant:>9} {melanoma:>8}  {image}"


_FORMATS: dict[Format, tuple[str | None, Callable[[Answer], str]]] = {
    Format.TABLE: (_HEADER, _table),
    Format.JSONL: (None, Answer.json),
    Format.CSV: (_csv(list(COLUMNS)), lambda answer: _csv(list(answer.row().values()))),
}

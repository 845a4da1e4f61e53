"""Former names of verbs: they work for one more release, and say the new name."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

import melascope as ms
from melascope.cli import check, info
from melascope.cli.options import (
    Band,
    Data,
    HoldOut,
    Report,
    ReportOut,
    Run,
    Seed,
    Split,
    SplitOption,
    option,
)
from melascope.cli.progress import progress_bar

_Number = Annotated[int | None, option("N", "Maximum number of images.", min=20)]
_Masks = Annotated[Path, option("PATH", "Folder or ZIP of lesion masks, named by image id.")]
_Out = Annotated[Path | None, option("FOLDER", "Where to write (default: the report folder).")]

model = typer.Typer(no_args_is_help=True)


@model.callback()
def _model() -> None:
    """Now `melascope info`."""


@model.command("info")
def model_info(model: Annotated[Path, info.MODEL], format: info.Format = info.Format.TEXT) -> None:
    """Now `melascope info`."""
    _renamed("model info", "info")
    info.info(model, format)


def stress(
    model: Run,
    data: Data,
    out: ReportOut,
    split: SplitOption = Split.TEST,
    images: _Number = None,
    seed: Seed = 0,
) -> None:
    """Now `melascope check REPORT stress`."""
    _renamed("stress", "check REPORT stress")
    _check("stress", model, data, out, split, images=images, seed=seed)


def attribution(
    model: Run,
    data: Data,
    masks: _Masks,
    out: ReportOut,
    split: SplitOption = Split.TEST,
    images: _Number = None,
    seed: Seed = 0,
) -> None:
    """Now `melascope check REPORT lesion`."""
    _renamed("attribution", "check REPORT lesion")
    _check("lesion", model, data, out, split, masks=masks, images=images, seed=seed)


def doubt(model: Run, data: Data, out: ReportOut, seed: Seed = 0) -> None:
    """Now `melascope check REPORT doubt`."""
    _renamed("doubt", "check REPORT doubt")
    _check("doubt", model, data, out, Split.TEST, seed=seed)


def investigate(report: Report, band: Band = None, out: _Out = None) -> None:
    """Now `melascope check REPORT cases`."""
    from melascope.report.check import check as run

    _renamed("investigate", "check REPORT cases")
    evaluation = replace(ms.Report(report).evaluation, folder=out or report)
    with progress_bar() as progress:
        done = run(evaluation, ["cases"], band=check.limits(band), progress=progress)
    check.show(done)


def card(report: Report, hold_out: HoldOut = None, out: _Out = None) -> None:
    """Now `melascope check REPORT card`."""
    from melascope.evaluate.hold_out import read
    from melascope.report.card import write

    _renamed("card", "check REPORT card")
    evaluation = ms.Report(report).evaluation
    known = read(hold_out, evaluation.card()) if hold_out else None
    for page in write(evaluation, hold_out=known, out=out):
        typer.echo(page)


def _renamed(old: str, new: str) -> None:
    sys.stderr.write(
        f"`melascope {old}` is now `melascope {new}`; the old name will go in the next release\n"
    )


def _check(chapter: str, model: Path, data: Path, out: Path, split: Split, **options: Any) -> None:
    """Measure a chapter of the evaluation in a report folder; where there is none, it is made."""
    from melascope.evaluate.predictions import METRICS

    with progress_bar() as progress:
        if not (out / METRICS).is_file():
            ms.evaluate(model, data, out, split=split.value, progress=progress)
        report = ms.Report(out)
        made_of = report.evaluation.model, report.evaluation.data.absolute(), report.evaluation.split
        if made_of != (str(model.absolute()), data.absolute(), split.value):
            raise ms.DataError(
                f"{out}: holds the evaluation of another model, data set or split; name another --out"
            )
        done = report.check(chapter, **options, progress=progress)
    check.show(done)

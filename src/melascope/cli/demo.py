"""`melascope demo`: the whole story on synthetic images with known truth, offline."""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import melascope as ms
from melascope.cli.options import Seed, option
from melascope.cli.progress import progress_bar
from melascope.cli.table import table

if TYPE_CHECKING:
    import pandas as pd

    from melascope.synthetic import Truth

_STAGES = ("raw", "data", "run", "report", "explain")
_NETWORK = "--backbone MobileNetV3Small --weights none --size 64 --rate 0.003"
_PREDICTED, _EXPLAINED = 10, 4  # images


def demo(
    context: typer.Context,
    out: Annotated[Path, option("FOLDER", "Folder for all that the demo makes.")] = Path("demo"),
    seed: Seed = 0,
    images: Annotated[int, option("N", "Images to draw. Fewer are quicker, and worse.", min=60)] = 800,
    epochs: Annotated[int, option("N", "Epochs to train. Fewer are quicker, and worse.", min=1)] = 18,
) -> None:
    """See the whole story in minutes, offline, on drawn lesions: from images to a report and answers.

    Faults are planted in the images, and the demo checks that the audit finds them. It runs prepare, train, evaluate,
    check, explain and predict, and prints each command.

    Exit code 1: the audit missed a fault.

    Examples:
        $ melascope demo
        $ melascope demo --images 200 --epochs 4 --out quick-demo/
    """
    from melascope import manifest
    from melascope.prepare.verdicts import SHORTCUT
    from melascope.synthetic import write_archive

    def run_verb(*words: object, keep: Path | None = None) -> str:
        """Run a verb as a user would, after printing its command; its output is printed, or kept in a file."""
        line = [str(word) for word in words]
        output = io.StringIO()
        began = time.monotonic()
        typer.echo("")
        typer.echo(f"$ melascope {shlex.join(line)}" + (f" > {shlex.quote(str(keep))}" if keep else ""))
        sys.stdout.flush()
        with contextlib.redirect_stdout(output) if keep else contextlib.nullcontext():
            context.find_root().command.main(line, prog_name="melascope", standalone_mode=False)
        if keep:
            keep.write_text(output.getvalue(), encoding="utf-8")
        sys.stderr.write(f"{line[0]}: {time.monotonic() - began:.0f} s\n")
        return output.getvalue()

    _clear(out)
    started = time.monotonic()
    sys.stderr.write(f"drawing {images} images of synthetic lesions, with faults planted in them\n")
    with progress_bar() as progress:
        truth = write_archive(out / "raw", images, seed, progress)
    data, run, report = out / "data", out / "run", out / "report"
    run_verb("prepare", *truth.sources, "--out", data, "--seed", seed)
    prepared = ms.Dataset(data)
    faults = truth.check(prepared.audit, prepared.table, SHORTCUT)
    for fault, seen in faults:
        typer.echo(f"{'found ' if seen else 'MISSED'}  {fault}")
    options = [*_NETWORK.split(), "--epochs", epochs, "--patience", epochs, "--seed", seed]
    run_verb("train", data, "--out", run, *options)
    run_verb("evaluate", run, data, "--out", report, "--seed", seed)
    run_verb("check", report, "cases")
    chosen = manifest.usable(prepared.table, "test")
    chosen = chosen[chosen["malignant"].notna()].sample(_PREDICTED, random_state=seed)
    paths = [os.path.relpath(path) for path in chosen["path"]]
    run_verb("explain", *paths[:_EXPLAINED], "--model", run, "--out", out / "explain")
    answers = run_verb("predict", *paths, "--model", run, "--format", "jsonl", keep=report / "demo.jsonl")
    typer.echo("")
    for line in _answers([json.loads(answer) for answer in answers.splitlines()], chosen):
        typer.echo(line)
    typer.echo("")
    for line in _figures(ms.Report(report), truth):
        typer.echo(line)
    missed = sum(not seen for _, seen in faults)
    typer.echo(f"Planted faults found by the audit: {len(faults) - missed} of {len(faults)}")
    typer.echo(f"{time.monotonic() - started:.0f} s in all. The report: {report / 'report.html'}")
    if missed:
        raise typer.Exit(1)


def _clear(out: Path) -> None:
    """Remove what an earlier demo made here, and nothing else."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / "raw" / "truth" / "truth.json").is_file():
            raise ms.DataError(f"{out}: holds something else than a demo; name another --out")
        for stage in _STAGES:
            shutil.rmtree(out / stage, ignore_errors=True)


def _answers(answers: list[dict[str, Any]], chosen: "pd.DataFrame") -> Iterator[str]:
    """Answers beside the truth."""
    rows = []
    for answer, name, diagnosis in zip(answers, chosen["image_id"], chosen["diagnosis"], strict=True):
        values = (answer[key] for key in ("confidence", "malignant", "melanoma"))
        numbers = ("-" if value is None else f"{value:.2f}" for value in values)
        weak = "weak" if answer["weak"] else ""
        rows.append((name, diagnosis, answer["label"] or answer["status"], *numbers, weak))
    return table([("image", "truth", "answer", "confidence", "malignant", "melanoma", ""), *rows])


def _figures(report: "ms.Report", truth: "Truth") -> Iterator[str]:
    """ROC-AUC on test, and by source: one of them has the shortcut."""
    figures = report.malignant
    yield f"Test ROC-AUC for malignant: {figures.roc_auc}, {figures.n} images"
    for row in figures.sources:
        if not row["whole"]:
            mark = "with the shortcut" if row["source"] == truth.shortcut_source else "without it"
            clinic = row["source"].partition("/")[2]
            yield f"  {clinic}, {mark}: {ms.Figure.of(row['roc_auc'])}, {row['n']} images"

"""`melascope demo`: the whole story on synthetic images with known truth, offline."""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melascope.cli.progress import progress_bar
from melascope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from melascope.synthetic import Truth

_STAGES = ("raw", "data", "run", "report", "explain")
_NETWORK = "--backbone MobileNetV3Small --weights none --size 64 --rate 0.003"
_SHOWN = 10  # predictions in the table
_EXPLAINED = 4


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same images.")] = 0,
    images: Annotated[int, typer.Option(min=60, help="Fewer are quicker, and worse.")] = 800,
    epochs: Annotated[int, typer.Option(min=1, help="Fewer are quicker, and worse.")] = 18,
) -> None:
    """Tell the whole story on synthetic images in minutes: draw, prepare, train, evaluate, explain, predict.

    The images have faults planted in them. Exit code 1: the audit missed one.
    """
    from melascope import manifest
    from melascope.synthetic import write_archive

    _clear(out)
    started = time.monotonic()
    sys.stderr.write(f"drawing {images} images of synthetic lesions, with faults planted in them\n")
    with progress_bar() as progress:
        truth = write_archive(out / "raw", images, seed, progress)
    data, run, report = out / "data", out / "run", out / "report"
    _run("prepare", *truth.sources, "--out", data, "--seed", seed)
    planted = check(truth, json.loads((data / "audit.json").read_text(encoding="utf-8")), manifest.read(data))
    for what, found in planted:
        typer.echo(f"{'found ' if found else 'MISSED'}  {what}")
    options = [*_NETWORK.split(), "--epochs", epochs, "--patience", epochs, "--seed", seed]
    _run("train", data, "--out", run, *options)
    _run("evaluate", run, data, "--out", report, "--seed", seed)
    _run("investigate", report)
    chosen = manifest.usable(manifest.read(data), "test")
    chosen = chosen[chosen["malignant"].notna()].sample(_SHOWN, random_state=seed)
    paths = [os.path.relpath(path) for path in chosen["path"]]
    _run("explain", *paths[:_EXPLAINED], "--model", run, "--out", out / "explain")
    answers = _run("predict", *paths, "--model", run, "--format", "jsonl", keep=report / "demo.jsonl")
    typer.echo("")
    for line in _table([json.loads(answer) for answer in answers.splitlines()], chosen):
        typer.echo(line)
    typer.echo("")
    for line in _figures(json.loads((report / "metrics.json").read_text(encoding="utf-8")), truth):
        typer.echo(line)
    missed = sum(not found for _, found in planted)
    typer.echo(f"Planted faults found by the audit: {len(planted) - missed} of {len(planted)}")
    typer.echo(f"{time.monotonic() - started:.0f} s in all. The report: {report / 'report.html'}")
    if missed:
        raise typer.Exit(1)


def _clear(out: Path) -> None:
    """Remove what an earlier demo made here, and nothing else."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / "raw" / "truth" / "truth.json").is_file():
            raise DataError(f"{out}: holds something else than a demo; name another --out")
        for stage in _STAGES:
            shutil.rmtree(out / stage, ignore_errors=True)


def _run(*words: object, keep: Path | None = None) -> str:
    """Run a verb as a user would, after saying how; its answer is printed, or kept in a file."""
    from melascope.cli.main import app

    line = [str(word) for word in words]
    held = io.StringIO()
    started = time.monotonic()
    typer.echo("")
    typer.echo(f"$ melascope {shlex.join(line)}" + (f" > {shlex.quote(str(keep))}" if keep else ""))
    sys.stdout.flush()
    with contextlib.redirect_stdout(held) if keep else contextlib.nullcontext():
        app(line, standalone_mode=False)
    if keep:
        keep.write_text(held.getvalue(), encoding="utf-8")
    sys.stderr.write(f"{line[0]}: {time.monotonic() - started:.0f} s\n")
    return held.getvalue()


def check(truth: "Truth", audit: dict[str, Any], table: "pd.DataFrame") -> list[tuple[str, bool]]:
    """Whether the audit found each planted fault.

    Args:
        truth: what was planted.
        audit: what `audit.json` holds.
        table: the manifest.

    Returns:
        For each fault its description, and whether it was found and dealt with.
    """
    from melascope.prepare.verdicts import SHORTCUT

    rows = table.drop_duplicates("image_id").set_index("image_id")
    kinds = {frozenset(pair["images"]): pair["kind"] for pair in audit["duplicates"]["pairs"]}

    def copies(pair: Sequence[str], kind: str) -> bool:
        return kinds.get(frozenset(pair)) == kind and len(set(rows.loc[list(pair), "group"])) == 1

    def excluded(name: str, reason: str) -> bool:
        told = (entry["images"] for why, entry in audit["excluded"].items() if why.startswith(reason))
        return any(name in path for paths in told for path in paths)

    def shortcut() -> bool:
        pixels = (p["within_sources"]["low"] for p in audit["probes"]["malignant"] if p["name"] != "file")
        return any(low is not None and low >= SHORTCUT for low in pixels)

    together = [rows.loc[names] for names in truth.lesions.values()]
    unsure = rows.loc[truth.indeterminate]
    return [
        *((f"exact copy {b} of {a}", copies((a, b), "exact")) for a, b in truth.exact_duplicates),
        *(
            (f"{how} copy {b} of {a}", copies((a, b), "near"))
            for how, (a, b) in truth.near_duplicates.items()
        ),
        (
            f"{len(together)} lesions with several images, each kept in one split",
            all(len(set(part["group"])) == len(set(part["split"])) == 1 for part in together),
        ),
        *((f"{how} named {name}.jpg", excluded(name, "unreadable")) for name, how in truth.damaged.items()),
        *((f"not dermoscopic: {name}", excluded(name, "not dermoscopic")) for name in truth.not_dermoscopic),
        *((f"altered: {name}", excluded(name, "altered")) for name in truth.altered),
        *((f"synthetic: {name}", excluded(name, "synthetic")) for name in truth.synthetic),
        (f"indeterminate, not benign: {', '.join(unsure.index)}", bool(unsure["malignant"].isna().all())),
        (f"the shortcut: {truth.shortcut}", shortcut()),
    ]


def _table(answers: list[dict[str, Any]], chosen: "pd.DataFrame") -> list[str]:
    lines = [f"{'image':14}{'truth':24}{'answer':12}{'confidence':>10}{'malignant':>11}{'melanoma':>10}"]
    for answer, name, diagnosis in zip(answers, chosen["image_id"], chosen["diagnosis"], strict=True):
        values = (answer[key] for key in ("confidence", "malignant", "melanoma"))
        confidence, malignant, melanoma = ("-" if value is None else f"{value:.2f}" for value in values)
        label = answer["label"] or answer["status"]
        weak = "   weak" if answer["weak"] else ""
        lines.append(f"{name:14}{diagnosis:24}{label:12}{confidence:>10}{malignant:>11}{melanoma:>10}{weak}")
    return lines


def _figures(metrics: dict[str, Any], truth: "Truth") -> list[str]:
    """ROC-AUC on test, and by source: one of them has the shortcut."""
    from melascope.intervals import Figure

    found = metrics["targets"]["malignant"]
    lines = [f"Test ROC-AUC for malignant: {Figure.of(found['roc_auc'])}, {found['n']} images"]
    for row in found["sources"]:
        if not row["whole"]:
            mark = "with the shortcut" if row["source"] == truth.shortcut_source else "without it"
            clinic = row["source"].partition("/")[2]
            lines.append(f"  {clinic}, {mark}: {Figure.of(row['roc_auc'])}, {row['n']} images")
    return lines

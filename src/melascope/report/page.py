"""`report.html`: what `metrics.json` says, in the order in which a dermatologist asks."""

import json
from pathlib import Path
from typing import Any

from melascope import files
from melascope.evaluate import doubt as doubting
from melascope.evaluate import lesion as attributing
from melascope.evaluate import stress as stressing
from melascope.evaluate.predictions import METRICS, PAGE, PREDICTIONS, Evaluation
from melascope.labels import NOT_RECORDED, WORDS
from melascope.progress import Progress, silent
from melascope.report import doubt, figures, lesion, stress
from melascope.report.html import render

_MOST = 12  # words of a list, such as of diagnoses, that are named; the rest is summed up
_DRAWN = {
    "roc": "ROC curve",
    "precision_recall": "Precision-recall curve",
    "decision": "Decision curve",
    "calibration": "Calibration",
    "confusion": "Confusion matrices",
}
_BESIDE = {
    doubting.NAME: (doubting.FORMAT, doubt),
    stressing.NAME: (stressing.FORMAT, stress),
    attributing.NAME: (attributing.FORMAT, lesion),
}  # what else may be in a report folder, and who shows it
_PLURAL = {"malignant": ("benign lesions", "malignant lesions"), "melanoma": ("other lesions", "melanomas")}


def write(metrics: dict[str, Any], folder: str | Path, progress: Progress = silent) -> Path:
    """Draw the figures of an evaluation and write its page.

    Args:
        metrics: what `metrics.json` holds.
        folder: the report folder; gets `figures/*.png` and `report.html`.
        progress: called with (what, done, total).

    Returns:
        The path of the page.
    """
    folder = Path(folder)
    drawings: dict[str, list[dict[str, object]]] = {}
    for i, (target, found) in enumerate(metrics["targets"].items()):
        drawings[target] = []
        for name in _DRAWN:
            (folder / figures.FOLDER / f"{target}_{name}.png").unlink(missing_ok=True)
        if found["reason"]:
            continue
        for name, figure in figures.of_target(target, found).items():
            figures.save(figure, folder / figures.FOLDER / f"{target}_{name}.png")
            drawings[target].append(
                {"name": name, "svg": figures.svg(figure, f"{_DRAWN[name]} for {target}")}
            )
        progress("drawing", i + 1, len(metrics["targets"]))
    page = render(
        "report.html",
        m=metrics,
        drawings=drawings,
        words=WORDS,
        plural=_PLURAL,
        share=share,
        hundred=hundred,
        listed=listed,
        beside=_beside(metrics, folder),
        names=[METRICS, PREDICTIONS, figures.FOLDER],
    )
    files.write_text(folder / PAGE, page)
    return folder / PAGE


def renew(folder: str | Path, progress: Progress = silent) -> Path | None:
    """Write the page of a report folder anew, with what was measured since; None where no evaluation is in it."""
    return (
        write(Evaluation.read(folder).metrics, folder, progress)
        if (Path(folder) / METRICS).is_file()
        else None
    )


def findings(metrics: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """What other verbs found of the same model on the same data, by the name of its file without `.json`."""
    found = {}
    for name, (expected, _) in _BESIDE.items():
        path = folder / name
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        model, threshold = metrics["model"], metrics["model"]["threshold"]["malignant"]
        of = (told.get("format"), told.get("model"), told.get("threshold", threshold))
        if of == (expected, model["identity"], threshold) and told["data"]["hash"] == metrics["data"]["hash"]:
            found[path.stem] = told
    return found


def _beside(metrics: dict[str, Any], folder: Path) -> dict[str, Any]:
    found = findings(metrics, folder)
    shown = {Path(name).stem: drawer for name, (_, drawer) in _BESIDE.items()}
    return {name: shown[name].parts(found[name], folder) if name in found else None for name in shown}


def share(figure: dict[str, Any] | None, digits: int = 1) -> str:
    """A share as text: `90.8 %`."""
    return "not defined" if figure is None or figure["value"] is None else _percent(figure["value"], digits)


def _percent(part: float, digits: int) -> str:
    return f"{100 * part:.{digits}f}\u00a0%"  # no line ends before the sign


def hundred(figure: dict[str, Any]) -> str:
    """A share in words: `about 91 (95 % interval 88 to 93)`."""
    if figure["low"] is None:
        return f"about {100 * figure['value']:.0f} (no interval: {figure['reason']})"
    low, high = (f"{100 * figure[end]:.0f}" for end in ("low", "high"))
    return f"about {100 * figure['value']:.0f} (95\u00a0% interval {low} to {high})"


def listed(counts: dict[str, int]) -> str:
    """Counts as text, the most frequent first: `nevus 983 (52 %), melanoma 280 (15 %)`."""
    if set(counts) <= {NOT_RECORDED}:
        return NOT_RECORDED
    total = sum(counts.values())
    told = list(counts.items())
    if len(told) > _MOST + 1:
        rest = told[_MOST:]
        told = [*told[:_MOST], (f"{len(rest)} others", sum(n for _, n in rest))]
    return ", ".join(f"{word} {n:,} ({_percent(n / total, 0)})" for word, n in told)

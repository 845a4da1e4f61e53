"""`report.html`: what `metrics.json` holds, in the order in which a dermatologist asks."""

import json
from pathlib import Path
from typing import Any

from melascope import files
from melascope.evaluate import doubt, lesion, stress
from melascope.evaluate.predictions import METRICS, PAGE, PREDICTIONS, Evaluation
from melascope.labels import WORDS
from melascope.progress import Progress, silent
from melascope.report import figures
from melascope.report.doubt import draw_doubt
from melascope.report.html import render
from melascope.report.lesion import draw_lesion
from melascope.report.stress import draw_stress

_TITLES = {
    "roc": "ROC curve",
    "precision_recall": "Precision-recall curve",
    "decision": "Decision curve",
    "calibration": "Calibration",
    "confusion": "Confusion matrices",
}
_CHAPTERS = {
    "doubt": (doubt.NAME, doubt.FORMAT, draw_doubt),
    "stress": (stress.NAME, stress.FORMAT, draw_stress),
    "lesion": (lesion.NAME, lesion.FORMAT, draw_lesion),
}  # file in the report folder, its format, and what draws its figures
_PLURAL = {"malignant": ("benign lesions", "malignant lesions"), "melanoma": ("other lesions", "melanomas")}


def write(metrics: dict[str, Any], folder: str | Path, progress: Progress = silent) -> Path:
    """Draw the figures of an evaluation and write its page, with the chapters that lie in its folder.

    Args:
        metrics: what `metrics.json` holds.
        folder: the report folder; gets `figures/*.png` and `report.html`.
        progress: called with (what, done, total).

    Returns:
        The path of the page.
    """
    folder = Path(folder)
    drawings = {}
    for i, (target, result) in enumerate(metrics["targets"].items()):
        drawings[target] = _draw(target, result, folder)
        progress("drawing", i + 1, len(metrics["targets"]))
    page = render(
        "report.html",
        m=metrics,
        drawings=drawings,
        chapters={
            name: _CHAPTERS[name][2](result, folder) for name, result in chapters(metrics, folder).items()
        },
        words=WORDS,
        plural=_PLURAL,
        names=[METRICS, PREDICTIONS, figures.FOLDER],
    )
    files.write_text(folder / PAGE, page)
    return folder / PAGE


def renew(folder: str | Path, progress: Progress = silent) -> Path | None:
    """Write the page of a report folder again, after a chapter was added; None where no evaluation is in it."""
    folder = Path(folder)
    return write(Evaluation.read(folder).metrics, folder, progress) if (folder / METRICS).is_file() else None


def chapters(metrics: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """The results that lie in a report folder and are of the same model on the same data.

    Returns:
        Contents of `doubt.json`, `stress.json` and `lesion.json`, by name without the ending.
    """
    results = {}
    for name, (file, expected, _) in _CHAPTERS.items():
        path = folder / file
        result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        model, threshold = metrics["model"], metrics["model"]["threshold"]["malignant"]
        made = (result.get("format"), result.get("model"), result.get("threshold", threshold))
        if made == (expected, model["identity"], threshold) and (
            result["data"]["hash"] == metrics["data"]["hash"]
        ):
            results[name] = result
    return results


def _draw(target: str, result: dict[str, Any], folder: Path) -> list[dict[str, object]]:
    """Draw the figures of a target; those of an earlier run are removed."""
    for name in _TITLES:
        (folder / figures.FOLDER / f"{target}_{name}.png").unlink(missing_ok=True)
    if result["reason"]:
        return []
    drawings: list[dict[str, object]] = []
    for name, figure in figures.of_target(target, result).items():
        figures.save(figure, folder / figures.FOLDER / f"{target}_{name}.png")
        drawings.append({"name": name, "svg": figures.svg(figure, f"{_TITLES[name]} for {target}")})
    return drawings

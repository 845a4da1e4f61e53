"""`cases.html`: weak decisions, misses and false alarms, as pictures with their heat maps."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from melascope import files
from melascope.evaluate.cases import PAGE, REVIEW, TABLE, Findings, error_rates
from melascope.evaluate.figure import documents
from melascope.evaluate.predictions import Evaluation
from melascope.explain.overlay import pair
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS, WORDS
from melascope.model.decision import PredictionSets
from melascope.progress import Progress, silent
from melascope.report.html import picture, render

_GALLERY_SIZE = 24  # images
_SIDE = 224  # of a picture, in pixels
_QUALITY = ("sharpness", "contrast", "brightness")

Pictures = Mapping[
    str, tuple[str, str] | None
]  # by locator, for a page: the image, and the same with its heat map


def write(
    findings: Findings,
    evaluation: Evaluation,
    band: tuple[float, float] | None = None,
    progress: Progress = silent,
) -> Path:
    """Write the page into the report folder.

    Args:
        findings: from `melascope.evaluate.cases.measure`.
        evaluation: what `findings` was measured on.
        band: as given to `measure`.
        progress: called with (what, done, total).

    Returns:
        The path of the page.

    Raises:
        DataError: if the model has changed since it was evaluated.
        ModelError: if it cannot be used.
    """
    predictor = evaluation.predictor(progress)
    galleries = _galleries(findings)
    locators = {path: None for _, _, rows in galleries for path in rows["path"].head(_GALLERY_SIZE)}
    pictures = _pictures(locators, predictor, progress)
    page = render(
        "cases.html",
        m=evaluation.metrics,
        threshold=predictor.card.threshold["malignant"],
        sensitivity=predictor.card.sensitivity,
        rule=_rule(predictor.card.prediction_sets, band),
        images=len(findings.images),
        refused=int((findings.images["status"] == "refused").sum()),
        gone=findings.gone,
        rates=documents(error_rates(findings.images)),
        qualities=_qualities(findings),
        galleries=[
            {"title": title, "lead": lead, "total": len(rows), "figures": _figures(rows, pictures)}
            for title, lead, rows in galleries
        ],
        table=TABLE,
        review=REVIEW,
    )
    files.write_text(evaluation.folder / PAGE, page)
    return evaluation.folder / PAGE


def _rule(sets: PredictionSets, band: tuple[float, float] | None) -> str:
    """What makes a decision weak, in a sentence or two."""
    if band:
        return f"A decision is weak if its probability lies between {band[0]:g} and {band[1]:g}."
    return (
        f"A decision is weak if the other answer cannot be ruled out with {100 * sets.coverage:g} % confidence. "
        f"Malignant is ruled out below a probability of {sets.low:.3g}, benign above {sets.high:.3g}."
    )


def _galleries(findings: Findings) -> list[tuple[str, str, pd.DataFrame]]:
    """Title, first sentences and images of each gallery."""
    return [
        (
            "False negatives",
            "Malignant lesions that the model called benign. The most confident misses come first.",
            findings.missed,
        ),
        (
            "False positives",
            "Benign lesions that the model called malignant. The most confident alarms come first.",
            findings.alarms,
        ),
        (
            "Weak decisions",
            "The decisions closest to the middle of the weak range come first.",
            findings.weak,
        ),
        (
            "Suspected labels",
            "Labels that may be wrong, by confident learning (Northcutt et al. 2021). The least credible labels come "
            "first. A person should review each, with histopathology where there is any. The model may be the one that "
            "errs, so no figure is changed.",
            findings.suspected,
        ),
    ]


def _pictures(locators: Collection[str], predictor: Predictor, progress: Progress) -> Pictures:
    """Draw each image once; None for those that can no longer be read."""
    pictures: dict[str, tuple[str, str] | None] = {}
    for locator in locators:
        answer, pixels = predictor.explain(locator, at_least=_SIDE)
        pictures[locator] = None
        if answer.heat is not None and pixels is not None:
            square, overlay = pair(pixels, answer.heat[TARGETS.index("malignant")], _SIDE)
            pictures[locator] = picture(square), picture(overlay)
        progress("drawing cases", len(pictures), len(locators))
    return pictures


def _figures(rows: pd.DataFrame, pictures: Pictures) -> list[dict[str, Any]]:
    """The images of a gallery that could be drawn, as the template takes them."""
    return [
        {
            "pictures": shown,
            "image_id": row["image_id"],
            "p": row["p_malignant"],
            "truth": "truth not known"
            if pd.isna(row["malignant"])
            else WORDS["malignant"][bool(row["malignant"])],
            "diagnosis": None if pd.isna(row["diagnosis"]) else row["diagnosis"],
            "source": row["source"],
            "refused": row["reason"] if row["status"] == "refused" else None,
        }
        for row in rows.head(_GALLERY_SIZE).to_dict("records")
        if (shown := pictures[row["path"]])
    ]


def _qualities(findings: Findings) -> list[dict[str, Any]]:
    """Median quality of weak and of wrong decisions beside that of all images."""
    parts = {
        "all images": findings.images,
        "weak decisions": findings.weak,
        "false negatives": findings.missed,
        "false positives": findings.alarms,
    }
    return [
        {"name": name, "n": len(rows), **{column: rows[column].median() for column in _QUALITY}}
        for name, rows in parts.items()
        if len(rows)
    ]

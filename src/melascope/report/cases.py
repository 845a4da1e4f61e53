"""`cases.html`: weak decisions, misses and false alarms, as pictures with their heat maps."""

from pathlib import Path
from typing import Any

import pandas as pd

from melascope import files, images
from melascope.errors import ImageError
from melascope.evaluate.cases import PAGE, REVIEW, TABLE, Findings, error_rates
from melascope.explain.overlay import pair
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.model.decision import PredictionSets
from melascope.progress import Progress, silent
from melascope.report.html import picture, render

_MOST = 24  # images in a gallery
_SIDE = 224
_WORDS = ("benign", "malignant")
_QUALITY = ("sharpness", "contrast", "brightness")
_WEAK, _OTHERS = "weak decisions", "all others"


def write(
    findings: Findings,
    predictor: Predictor,
    metrics: dict[str, Any],
    band: tuple[float, float] | None,
    out: Path,
    progress: Progress = silent,
) -> Path:
    """Write the page.

    Args:
        findings: from `melascope.evaluate.cases.measure`.
        predictor: the model that was evaluated, for the heat maps.
        metrics: what `metrics.json` holds.
        band: as given to `measure`.
        out: folder to write into.
        progress: called with (what, done, total).

    Returns:
        The path of the page.
    """
    rule = _rule(predictor.card.prediction_sets, band)
    galleries = [
        {
            "title": title,
            "lead": lead,
            "total": len(rows),
            "figures": _figures(rows.head(_MOST), predictor, f"drawing {title.lower()}", progress),
        }
        for title, lead, rows in (
            (
                "False negatives",
                "Malignant lesions that the model called benign, the most confident misses first.",
                findings.missed,
            ),
            (
                "False positives",
                "Benign lesions that it called malignant, the most confident alarms first.",
                findings.alarms,
            ),
            (
                "Weak decisions",
                f"{rule[0].upper()}{rule[1:]}; the closest to its middle first.",
                findings.weak,
            ),
            (
                "Suspected labels",
                "Images whose label may be wrong (confident learning, Northcutt et al. 2021), the label that the model "
                "believes least first. Each is for a person to review, with histopathology where there is any: the "
                "model may be the one that errs, and no figure is changed.",
                findings.suspected,
            ),
        )
    ]
    page = render(
        "cases.html",
        m=metrics,
        threshold=predictor.card.threshold["malignant"],
        sensitivity=predictor.card.sensitivity,
        rule=rule,
        images=len(findings.images),
        refused=int((findings.images["status"] == "refused").sum()),
        gone=findings.gone,
        errors=_errors(findings.images),
        qualities=_qualities(findings),
        galleries=galleries,
        table=TABLE,
        review=REVIEW,
    )
    files.write_text(out / PAGE, page)
    return out / PAGE


def _rule(sets: PredictionSets, band: tuple[float, float] | None) -> str:
    """In words, what makes a decision weak."""
    if band:
        return f"its probability lies between {band[0]:g} and {band[1]:g}"
    return (
        f"the other answer cannot be ruled out with {100 * sets.coverage:g} % confidence: malignant is ruled out below "
        f"a probability of {sets.low:.3g}, benign above {sets.high:.3g}"
    )


def _figures(rows: pd.DataFrame, predictor: Predictor, what: str, progress: Progress) -> list[dict[str, Any]]:
    figures = []
    answers = predictor.predict(rows["path"].tolist())
    for i, (row, answer) in enumerate(zip(rows.to_dict("records"), answers, strict=True)):
        progress(what, i + 1, len(rows))
        if answer.heat is None:
            continue  # gone since it was evaluated, which the page says; its row in the table stays
        try:
            pixels = images.decode(files.read(answer.path), answer.path, at_least=_SIDE)
        except ImageError:
            continue
        square, overlay = pair(pixels, answer.heat[TARGETS.index("malignant")], _SIDE)
        figures.append(
            {
                "square": picture(square),
                "overlay": picture(overlay),
                "image_id": row["image_id"],
                "p": row["p_malignant"],
                "truth": "truth not known" if pd.isna(row["malignant"]) else _WORDS[bool(row["malignant"])],
                "diagnosis": None if pd.isna(row["diagnosis"]) else row["diagnosis"],
                "source": row["source"],
                "refused": row["reason"] if row["status"] == "refused" else None,
            }
        )
    return figures


def _errors(images: pd.DataFrame) -> dict[str, Any]:
    """Rates of wrong answers, as the template takes them."""
    rates = {name: figure.document() for name, figure in error_rates(images).items()}
    rows = [{"name": words, **rates[name]} for name, words in (("weak", _WEAK), ("others", _OTHERS))]
    return {
        "rows": rows if rates["weak"]["n"] or rates["others"]["n"] else [],
        "difference": rates["difference"],
    }


def _qualities(findings: Findings) -> list[dict[str, Any]]:
    """Median quality of weak and of wrong decisions beside that of all images."""
    parts = {
        "all images": findings.images,
        _WEAK: findings.weak,
        "false negatives": findings.missed,
        "false positives": findings.alarms,
    }
    return [
        {"name": name, "n": len(rows), **{column: rows[column].median() for column in _QUALITY}}
        for name, rows in ((name, part[part["sharpness"].notna()]) for name, part in parts.items())
        if len(rows)
    ]

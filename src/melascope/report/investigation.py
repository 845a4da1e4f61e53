"""`investigation.html`: weak decisions, misses and false alarms, as pictures with their heat maps."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import bootstrap, files, images
from melascope.explain.overlay import pair
from melascope.explain.weak import COLUMNS, Findings
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.progress import Progress, silent
from melascope.report.html import data_uri, render

PAGE, TABLE = "investigation.html", "weak_decisions.csv"
_MOST = 24  # pictures in a gallery
_SIDE = 176
_WORDS = ("benign", "malignant")
_QUALITY = ("sharpness", "contrast", "brightness")


def write(
    findings: Findings,
    predictor: Predictor,
    band: tuple[float, float],
    out: Path,
    tell: Progress = silent,
) -> Path:
    """Write the table of weak decisions and the page.

    Args:
        findings: from `melascope.explain.weak.find`.
        predictor: the model that was evaluated, for the heat maps.
        band: as given to `find`.
        out: folder to write into.
        tell: hears how far it is.

    Returns:
        The path of the page.
    """
    threshold = predictor.card.threshold["malignant"]
    with files.replacing(out / TABLE) as beside:
        findings.weak[COLUMNS].to_csv(beside, index=False)
    galleries = [
        {
            "title": title,
            "lead": lead,
            "total": len(rows),
            "figures": _figures(rows.head(_MOST), predictor, f"drawing {title.lower()}", tell),
        }
        for title, lead, rows in (
            (
                "False negatives",
                "Malignant lesions that the model would have called benign, the most confident misses first.",
                findings.missed,
            ),
            (
                "False positives",
                "Benign lesions that it would have called malignant, the most confident alarms first.",
                findings.alarms,
            ),
            (
                "Weak decisions",
                f"Probability between {band[0]:g} and {band[1]:g}, or as close to the threshold.",
                findings.weak,
            ),
        )
    ]
    page = render(
        "investigation.html",
        model=predictor.card.identity,
        threshold=threshold,
        sensitivity=predictor.card.sensitivity,
        band=band,
        judged=len(findings.judged),
        errors=_errors(findings.judged),
        qualities=_qualities(findings),
        galleries=galleries,
        table=TABLE,
    )
    files.write_text(out / PAGE, page)
    return out / PAGE


def _figures(rows: pd.DataFrame, predictor: Predictor, what: str, tell: Progress) -> list[dict[str, Any]]:
    figures = []
    answers = predictor.predict(rows["path"].tolist())
    for i, (row, answer) in enumerate(zip(rows.to_dict("records"), answers, strict=True)):
        tell(what, i + 1, len(rows))
        if answer.heat is None:
            continue  # gone since it was evaluated; its row in the table stays
        pixels = images.decode(files.read(answer.path), answer.path)
        picture = io.BytesIO()
        pair(pixels, answer.heat[TARGETS.index("malignant")], _SIDE).save(picture, "JPEG", quality=85)
        figures.append(
            {
                "picture": data_uri(picture.getvalue(), "image/jpeg"),
                "image_id": row["image_id"],
                "p": row["p_malignant"],
                "truth": "truth not known" if pd.isna(row["malignant"]) else _WORDS[bool(row["malignant"])],
                "diagnosis": None if pd.isna(row["diagnosis"]) else row["diagnosis"],
                "source": row["source"],
            }
        )
    return figures


def _errors(judged: pd.DataFrame) -> list[dict[str, Any]]:
    """How often the answer at the threshold is wrong, among weak decisions and among the others."""
    known = judged[judged["malignant"].notna()]
    wrong = (known["called"] != known["malignant"].astype(bool)).to_numpy(dtype=np.float64)
    told = []
    for name, chosen in (
        ("weak decisions", (known["weak_because"] != "").to_numpy()),
        ("all others", (known["weak_because"] == "").to_numpy()),
    ):
        row: dict[str, Any] = {"name": name, "n": int(chosen.sum()), "value": None, "low": None, "high": None}
        if chosen.any():
            part, group = wrong[chosen], pd.factorize(known["group"][chosen])[0]

            def rate(weights: np.ndarray, part: np.ndarray = part) -> dict[str, np.ndarray]:
                return {"wrong": weights @ part / weights.sum(axis=1)}

            interval = bootstrap.interval(bootstrap.draws(rate, group)["wrong"])
            row |= {"value": float(part.mean()), "low": interval.low, "high": interval.high}
        told.append(row)
    return told


def _qualities(findings: Findings) -> list[dict[str, Any]]:
    """Median quality of weak and wrong decisions beside that of all images."""
    parts = {
        "all images": findings.judged,
        "weak decisions": findings.weak,
        "false negatives": findings.missed,
        "false positives": findings.alarms,
    }
    return [
        {"name": name, "n": len(rows), **{column: rows[column].median() for column in _QUALITY}}
        for name, rows in parts.items()
        if len(rows)
    ]

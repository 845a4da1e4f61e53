"""`card.html`, the model's card for people, and `guidelines.html`, where reporting guidelines are answered.

The card follows Mitchell et al. (2019), Model Cards for Model Reporting.
"""

from pathlib import Path
from typing import Any

from melascope import files
from melascope.evaluate.predictions import Evaluation
from melascope.model.card import Card
from melascope.report import guidelines
from melascope.report.html import render
from melascope.report.page import chapters

PAGE, TABLE = "card.html", "guidelines.html"
_REFERENCES = {
    "TRIPOD+AI": "Collins et al. 2024, BMJ 385:e078378",
    "STARD-AI": "Sounderajah et al. 2025, Nature Medicine, doi:10.1038/s41591-025-03953-8",
    "CLAIM 2024": "Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300",
}


def write(
    evaluation: Evaluation, *, hold_out: dict[str, Any] | None = None, out: Path | None = None
) -> tuple[Path, Path]:
    """Write both pages.

    Args:
        evaluation: of the model; the chapters in its folder are on the card too.
        hold_out: what `hold-out.json` of the same recipe on the same data holds.
        out: folder to write into; None for that of the evaluation.

    Returns:
        The paths of both.

    Raises:
        DataError: if the model has changed since it was evaluated.
        ModelError: if its card cannot be read.
    """
    metrics, card, out = evaluation.metrics, evaluation.card(), out or evaluation.folder
    measured = chapters(metrics, evaluation.folder)
    answers = guidelines.answers(
        {*measured, *(["refusals"] if card.gate else []), *(["clinics"] if hold_out else [])}
    )
    counts = {
        name: {status: sum(row["status"] == status for row in rows) for status in guidelines.STATUSES}
        for name, rows in answers.items()
    }
    page = render(
        "card.html",
        m=metrics,
        card=card,
        chapters=measured,
        hold_out=hold_out,
        splits=_splits(card),
        counts=counts,
        table=TABLE,
    )
    files.write_text(out / PAGE, page)
    page = render("guidelines.html", m=metrics, answers=answers, counts=counts, references=_REFERENCES)
    files.write_text(out / TABLE, page)
    return out / PAGE, out / TABLE


def _splits(card: Card) -> list[dict[str, Any]]:
    """Images in each split, by source."""
    images = card.data.get("images", {})
    names = sorted({source for counts in images.values() for source in counts})
    return [
        {"source": source, **{split: counts.get(source, 0) for split, counts in images.items()}}
        for source in names
    ]

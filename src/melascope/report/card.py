"""`card.html`, the model's card for people, and `guidelines.html`, where reporting guidelines are answered.

The card follows Mitchell et al. (2019), Model Cards for Model Reporting.
"""

from pathlib import Path
from typing import Any

from melascope import files
from melascope.model.card import Card
from melascope.report import guidelines
from melascope.report.html import render
from melascope.report.page import chapters

PAGE, TABLE = "card.html", "guidelines.html"
_PLACES = {
    "stress": guidelines.STRESS,
    "lesion": guidelines.LESION,
    "doubt": guidelines.DOUBT,
}
_REFERENCES = {
    "TRIPOD+AI": "Collins et al. 2024, BMJ 385:e078378",
    "STARD-AI": "Sounderajah et al. 2025, Nature Medicine, doi:10.1038/s41591-025-03953-8",
    "CLAIM 2024": "Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300",
}


def write(
    metrics: dict[str, Any], card: Card, folder: Path, out: Path, hold_out: dict[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write both pages.

    Args:
        metrics: what `metrics.json` of the report folder holds.
        card: of the model that was evaluated.
        folder: the report folder, for what else was measured.
        out: folder to write into.
        hold_out: what `hold-out.json` of the same recipe on the same data holds.

    Returns:
        The paths of both.
    """
    measured = chapters(metrics, folder)
    there = {place for name, place in _PLACES.items() if name in measured}
    there |= {guidelines.REFUSALS} if card.gate else set()
    there |= {guidelines.CLINICS} if hold_out else set()
    answers = guidelines.answers(there)
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

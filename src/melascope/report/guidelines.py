"""Reporting guidelines, item by item: where a report and its card answer them, and where they do not.

TRIPOD+AI: Collins et al. (2024), BMJ 385:e078378. STARD-AI: Sounderajah et al. (2025), Nature Medicine,
doi:10.1038/s41591-025-03953-8. CLAIM 2024: Tejani et al. (2024), Radiology: Artificial Intelligence 6(4):e240300.

`guidelines.csv` has a row for each item: `guideline`, `number`, `topic` (the guidelines define what each asks), `where`
(keys of `PLACES` that answer it; empty if only the authors of a study can) and `lacks` (what these places lack).
"""

import csv
from collections.abc import Collection
from importlib import resources
from typing import Any

PLACES = {
    "asked": "report 1, what was asked",
    "whom": "report 2, on whom",
    "well": "report 3, how well",
    "sure": "report 4, how sure",
    "fails": "report 5, where it fails",
    "not-for": "report 6, what it must not be used for",
    "figures": "report, all figures",
    "again": "report, how to get this again",
    "model": "card, the model",
    "use": "card, intended use",
    "training": "card, training",
    "data": "card, data",
    "audit": "audit of the data set",
    "refusals": "card, refusals",
    "clinics": "card, other clinics",
    "stress": "report 5, under stress",
    "lesion": "report 5, lesion or surroundings",
    "doubt": "report 4, measures of doubt",
}
"""Parts of the report and its card."""
MEASURED = ("refusals", "clinics", "stress", "lesion", "doubt")
"""Places that a report has only if this was measured."""
STATUSES = ("answered", "partly", "not answered")


def items() -> list[dict[str, str]]:
    """The rows of `guidelines.csv`."""
    with resources.files(__package__).joinpath("guidelines.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answers(measured: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Where each item of each guideline is answered.

    Args:
        measured: those of `MEASURED` that the report and its card have.

    Returns:
        By guideline a row an item: `number`, `topic`, `status` (of `STATUSES`), `where` in words, and
        `lacks`, words for what is missing.
    """
    answered: dict[str, list[dict[str, Any]]] = {}
    for item in items():
        keys = item["where"].split()
        missing = [key for key in keys if key in MEASURED and key not in measured]
        where = [PLACES[key] for key in keys if key not in missing]
        lacks = [item["lacks"]] if item["lacks"] and where else []
        lacks += [f"{PLACES[key]} (not measured)" for key in missing]
        row = {
            "number": item["number"],
            "topic": item["topic"],
            "status": STATUSES[2 if not where else 1 if lacks else 0],
            "where": where,
            "lacks": "; ".join(lacks),
        }
        answered.setdefault(item["guideline"], []).append(row)
    return answered

"""`audit.html`: the audit of a data set for a person who does not program, the verdict first."""

from pathlib import Path
from typing import Any

import pandas as pd

from melascope import files, images
from melascope.errors import ImageError
from melascope.report.html import picture, render

PAGE = "audit.html"
_SIDE = 128
_MAX_NAMES = 5  # of images that were left out for one reason

_TITLES = {
    "malignant": "Malignant",
    "melanoma": "Melanoma",
    "diagnosis": "Diagnosis",
    "year": "Year of release",
    "source": "Source",
    "modality": "Modality",
    "age": "Age in years",
    "sex": "Sex",
    "site": "Site",
    "skin_type": "Skin type (Fitzpatrick)",
    "license": "Licence",
    "confirmed_by": "Diagnosis confirmed by",
}


def write(audit: dict[str, Any], manifest: pd.DataFrame, out: Path) -> Path:
    """Write the page.

    Args:
        audit: what `melascope.prepare.audit.measure` returns, and what `prepare` added.
        manifest: the rows that the audit's positions refer to, with absolute locators.
        out: the data set folder.

    Returns:
        The path of the page.
    """
    counts = [
        {"title": _TITLES[name], "counts": counted, "most": max(counted.values())}
        for name, counted in audit["counts"].items()
        if counted and set(counted) != {"not known"}
    ]
    examples = [
        pair | {"pictures": [_picture(manifest["path"].iloc[row]) for row in pair["rows"]]}
        for pair in audit["duplicates"]["examples"]
    ]
    page = render(
        "audit.html",
        a=audit,
        counts=counts,
        examples=examples,
        probes=[
            (target, probe, _bar(probe["roc_auc"]), _bar(probe["within_sources"]))
            for target, probes in audit["probes"].items()
            for probe in probes
        ],
        named=_MAX_NAMES,
    )
    files.write_text(out / PAGE, page)
    return out / PAGE


def _picture(locator: str) -> str | None:
    try:
        pixels = images.load(locator, _SIDE)
    except ImageError:
        return None  # gone since it was read: the page says so
    return picture(pixels)


def _bar(figure: dict[str, Any]) -> dict[str, Any] | None:
    """Where a ROC-AUC and its interval lie on a scale of 0.5 to 1, in percent of its length."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None or low is None or high is None:
        return None
    ends = {"at": value, "low": low, "high": high}
    places = {name: 200 * (min(max(end, 0.5), 1) - 0.5) for name, end in ends.items()}
    return {**places, "figure": figure}

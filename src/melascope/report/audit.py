"""`audit.html`: the audit of a data set for a person who does not program, the verdict first."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from melascope import files, images
from melascope.errors import ImageError
from melascope.report.html import data_uri, render

PAGE = "audit.html"
_SIDE = 128
_MOST = 12  # entries of a table before the rest is summed up
_NAMED = 5  # image names shown for one reason

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
        {"title": _TITLES[name], "rows": _shortened(counted), "most": max(counted.values())}
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
            for target, found in audit["probes"].items()
            for probe in found
        ],
        named=_NAMED,
    )
    files.write_text(out / PAGE, page)
    return out / PAGE


def _shortened(counted: dict[str, int]) -> list[tuple[str, int]]:
    rows = list(counted.items())
    rest = sum(n for _, n in rows[_MOST:])
    return rows[:_MOST] + ([(f"{len(rows) - _MOST} others", rest)] if rest else [])


def _picture(locator: str) -> str | None:
    try:
        pixels = images.load(locator, _SIDE)
    except ImageError:
        return None  # gone since it was read: the page says so
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=80)
    return data_uri(held.getvalue(), "image/jpeg")


def _bar(figure: dict[str, float | None]) -> dict[str, float] | None:
    """Where a ROC-AUC and its interval lie on a scale of 0.5 to 1, in percent of its length."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None or low is None or high is None:
        return None
    ends = {
        name: 200 * (min(max(x, 0.5), 1) - 0.5) for name, x in (("at", value), ("low", low), ("high", high))
    }
    return ends | {"value": value, "from": low, "to": high}

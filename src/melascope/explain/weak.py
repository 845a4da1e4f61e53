"""Weak decisions and wrong ones: which images, and what sets them apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melascope import files, images, quality
from melascope.errors import DataError, ImageError
from melascope.infer.answer import WEAK
from melascope.progress import Progress, silent

BAND = (0.5 - WEAK, 0.5 + WEAK)
COLUMNS = [
    "image_id",
    "path",
    "source",
    "group",
    "split",
    "diagnosis",
    "malignant",
    "p_malignant",
    "p_melanoma",
    "weak_because",
    "sharpness",
    "contrast",
    "brightness",
    "width",
    "height",
]


@dataclass(frozen=True)
class Findings:
    """Rows of predictions with the quality of each image; galleries have the plainest cases first."""

    judged: pd.DataFrame
    """All images that could be read, with the columns of `COLUMNS` and `called`, the answer."""
    weak: pd.DataFrame
    missed: pd.DataFrame
    """False negatives at the threshold."""
    alarms: pd.DataFrame
    """False positives at the threshold."""


def find(
    predictions: pd.DataFrame,
    threshold: float,
    band: tuple[float, float] = BAND,
    tell: Progress = silent,
) -> Findings:
    """Sort predictions of malignancy into weak, missed and falsely alarmed.

    Args:
        predictions: as `melascope evaluate` writes them.
        threshold: the operating point, a calibrated probability.
        band: probabilities between which a decision is weak, both ends left out. The same width
            around the threshold counts too.
        tell: hears how far it is.

    Raises:
        DataError: if the band is not within 0 to 1.
    """
    low, high = band
    if not 0 <= low < high <= 1:
        raise DataError(f"{low},{high}: a band needs 0 <= low < high <= 1")
    read = predictions[predictions["p_malignant"].notna()]
    judged = pd.concat([read.reset_index(drop=True), _qualities(read["path"].tolist(), tell)], axis=1)
    p = judged["p_malignant"]
    half = (high - low) / 2
    in_band = (p > low) & (p < high)
    at_threshold = (p > threshold - half) & (p < threshold + half)
    judged["weak_because"] = np.select(
        [in_band & at_threshold, in_band, at_threshold],
        ["band and threshold", "band", "threshold"],
        default="",
    )
    judged["called"] = p >= threshold
    truth = judged["malignant"]
    positive, negative = (truth.eq(value).fillna(False).astype(bool) for value in (True, False))
    weak = judged[judged["weak_because"] != ""]
    return Findings(
        judged,
        weak.loc[(weak["p_malignant"] - (low + high) / 2).abs().sort_values(kind="stable").index],
        judged[positive & ~judged["called"]].sort_values("p_malignant", kind="stable"),
        judged[negative & judged["called"]].sort_values("p_malignant", ascending=False, kind="stable"),
    )


def _qualities(locators: list[str], tell: Progress) -> pd.DataFrame:
    rows: list[Any] = []
    for i, locator in enumerate(locators):
        try:
            rows.append(quality.measure(images.decode(files.read(locator), locator)))
        except ImageError as error:
            raise DataError(f"{error}; it could be read when the report was made: evaluate again") from error
        tell("measuring image quality", i + 1, len(locators))
    return pd.DataFrame(rows, columns=list(quality.Quality._fields))

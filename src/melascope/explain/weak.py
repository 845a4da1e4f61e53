"""Weak decisions and wrong ones: which images, and what sets them apart."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melascope import files, images, quality
from melascope.errors import DataError, ImageError
from melascope.infer.answer import WEAK
from melascope.progress import Progress, silent

BAND = (0.5 - WEAK, 0.5 + WEAK)
QUALITY = quality.Quality._fields
COLUMNS = [
    "image_id",
    "path",
    "source",
    "group",
    "split",
    "diagnosis",
    "malignant",
    "melanoma",
    "p_malignant",
    "p_melanoma",
    "status",
    "weak_because",
    *QUALITY,
]


@dataclass(frozen=True)
class Findings:
    """Rows of predictions with the quality of each image; galleries have the plainest cases first."""

    judged: pd.DataFrame
    """All images that could be read, with the columns of `COLUMNS` and `called`, the answer at the threshold."""
    weak: pd.DataFrame
    """Those closest to the middle of the band, or to the threshold, first."""
    missed: pd.DataFrame
    """False negatives at the threshold, the least probable first."""
    alarms: pd.DataFrame
    """False positives at the threshold, the most probable first."""
    gone: tuple[str, ...]
    """What can no longer be read, and why; their qualities are missing."""


def find(
    predictions: pd.DataFrame,
    threshold: float,
    band: tuple[float, float] = BAND,
    tell: Progress = silent,
) -> Findings:
    """Sort predictions of malignancy into weak, missed and falsely alarmed.

    Refused images count too: what is asked is where the model errs, not what it would have said.

    Args:
        predictions: as `melascope evaluate` writes them.
        threshold: the operating point, a calibrated probability.
        band: probabilities between which a decision is weak, both ends left out. The same width
            around the threshold counts too.
        tell: hears how far it is.

    Raises:
        DataError: if the band is not within 0 to 1, or not one image can be read any more.
    """
    low, high = band
    if not 0 <= low < high <= 1:
        raise DataError(f"{low:g},{high:g}: a band needs 0 <= low < high <= 1")
    read = predictions[predictions["p_malignant"].notna()].reset_index(drop=True)
    measured, gone = _qualities(read["path"].tolist(), tell)
    if len(gone) == len(read):
        raise DataError(f"{gone[0] if gone else 'no image could be read'}; evaluate again")
    p = read["p_malignant"]
    half = (high - low) / 2
    from_middle, from_threshold = (p - (low + high) / 2).abs(), (p - threshold).abs()
    in_band, at_threshold = (p > low) & (p < high), from_threshold < half
    because = np.select(
        [in_band & at_threshold, in_band, at_threshold],
        ["band and threshold", "band", "threshold"],
        default="",
    )
    judged = pd.concat([read, measured], axis=1).assign(weak_because=because, called=p >= threshold)
    truth = judged["malignant"]
    positive, negative = (truth.eq(value).fillna(False).astype(bool) for value in (True, False))
    weak = judged[judged["weak_because"] != ""]
    near = from_middle.where(from_middle < from_threshold, from_threshold)[weak.index].sort_values(
        kind="stable"
    )
    return Findings(
        judged,
        weak.loc[near.index],
        judged[positive & ~judged["called"]].sort_values("p_malignant", kind="stable"),
        judged[negative & judged["called"]].sort_values("p_malignant", ascending=False, kind="stable"),
        tuple(gone),
    )


def _qualities(locators: list[str], tell: Progress) -> tuple[pd.DataFrame, list[str]]:
    """Quality of each image, and what could not be read."""

    def measure(locator: str) -> quality.Quality | ImageError:
        try:
            return quality.measure(images.decode(files.read(locator), locator))
        except ImageError as error:
            return error

    rows: list[tuple[float | None, ...]] = []
    gone = []
    # In portions, so that a person who stops it does not wait for all of them.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(locators), 64):
            for found in pool.map(measure, locators[start : start + 64]):
                if isinstance(found, ImageError):
                    gone.append(str(found))
                rows.append((None,) * len(QUALITY) if isinstance(found, ImageError) else found)
            tell("measuring image quality", len(rows), len(locators))
    table = pd.DataFrame(rows, columns=list(QUALITY), dtype=np.float64)
    return table.astype({"width": "Int64", "height": "Int64"}), gone

"""Weak decisions, wrong ones and labels to doubt: which images, and what sets them apart."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues

from melascope import files, images, quality
from melascope.errors import DataError, ImageError
from melascope.evaluate.predictions import Evaluation
from melascope.model.decision import PredictionSets
from melascope.progress import Progress, silent

PAGE, TABLE, REVIEW = "cases.html", "weak_decisions.csv", "suspected_labels.csv"
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
    *QUALITY,
]


@dataclass(frozen=True)
class Findings:
    """Rows of predictions with the quality of each image; galleries have the plainest cases first."""

    judged: pd.DataFrame
    """All images that could be read: the columns of `COLUMNS`, `weak`, and `called`, the answer at the threshold."""
    weak: pd.DataFrame
    """Those closest to the middle of the range first."""
    missed: pd.DataFrame
    """False negatives at the threshold, the least probable first."""
    alarms: pd.DataFrame
    """False positives at the threshold, the most probable first."""
    suspected: pd.DataFrame
    """Those whose label may be wrong, by confident learning, the label that the model believes least first."""
    gone: tuple[str, ...]
    """What can no longer be read, and why; their qualities are missing."""


def measure(
    evaluation: Evaluation, *, band: tuple[float, float] | None = None, progress: Progress = silent
) -> Findings:
    """Sort the predictions of malignancy into weak, missed and falsely alarmed, and write the tables of two of these.

    `weak_decisions.csv` and `suspected_labels.csv` go into the report folder, with the columns of `COLUMNS`.
    Refused images count too: what is asked is where the model errs, not what it would have said.

    Args:
        evaluation: to look into.
        band: probabilities between which a decision is weak, both ends left out; by default those are weak for which
            the model's prediction sets leave the other answer open.
        progress: called with (what, done, total).

    Raises:
        DataError: if the band is not within 0 to 1, or not one image can be read any more.
        ModelError: if the model's card cannot be read.
    """
    card = evaluation.card()
    findings = find(evaluation.predictions, card.threshold["malignant"], card.prediction_sets, band, progress)
    out = evaluation.folder
    with files.replacing(out / TABLE) as beside:
        (out / PAGE).unlink(missing_ok=True)  # galleries never stand beside the table of another run
        findings.weak[COLUMNS].to_csv(beside, index=False)
    with files.replacing(out / REVIEW) as beside:
        findings.suspected[COLUMNS].to_csv(beside, index=False)
    return findings


def find(
    predictions: pd.DataFrame,
    threshold: float,
    sets: PredictionSets,
    band: tuple[float, float] | None = None,
    progress: Progress = silent,
) -> Findings:
    """Sort predictions of malignancy into weak, missed and falsely alarmed.

    Refused images count too: what is asked is where the model errs, not what it would have said.

    Args:
        predictions: as `melascope evaluate` writes them.
        threshold: the operating point, a calibrated probability.
        sets: of the model's card; decisions are weak where they leave the other answer open.
        band: probabilities between which a decision is weak instead, both ends left out.
        progress: called with (what, done, total).

    Raises:
        DataError: if the band is not within 0 to 1, or not one image can be read any more.
    """
    low, high = band or (sets.low, sets.high)
    if band and not 0 <= low < high <= 1:
        raise DataError(f"{low:g},{high:g}: a band needs 0 <= low < high <= 1")
    read = predictions[predictions["p_malignant"].notna()].reset_index(drop=True)
    measured, gone = _qualities(read["path"].tolist(), progress)
    if len(gone) == len(read):
        raise DataError(f"{gone[0] if gone else 'no image could be read'}; evaluate again")
    p = read["p_malignant"]
    called = p >= threshold
    is_weak = (p > low) & (p < high) if band else sets.weak(p.to_numpy(), called.to_numpy())
    judged = pd.concat([read, measured], axis=1).assign(weak=is_weak, called=called)
    truth = judged["malignant"]
    positive, negative = (truth.eq(value).fillna(False).astype(bool) for value in (True, False))
    from_middle = (p - (low + high) / 2).abs()
    weak = judged[judged["weak"]]
    return Findings(
        judged,
        weak.loc[from_middle[weak.index].sort_values(kind="stable").index],
        judged[positive & ~judged["called"]].sort_values("p_malignant", kind="stable"),
        judged[negative & judged["called"]].sort_values("p_malignant", ascending=False, kind="stable"),
        judged.loc[_suspected(judged)],
        tuple(gone),
    )


def _suspected(judged: pd.DataFrame) -> "pd.Index[Any]":
    """Labels that are likely wrong, judged by a model that did not learn from them (Northcutt et al. 2021)."""
    known = judged[judged["malignant"].notna()]
    labels = known["malignant"].to_numpy(dtype=np.intp)
    if len(np.unique(labels)) < 2:
        return known.index[:0]
    p = known["p_malignant"].to_numpy()
    found = find_label_issues(
        labels, np.stack([1 - p, p], axis=1), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    suspected: pd.Index[Any] = known.index[found]
    return suspected


def _qualities(locators: list[str], progress: Progress) -> tuple[pd.DataFrame, list[str]]:
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
            progress("measuring image quality", len(rows), len(locators))
    table = pd.DataFrame(rows, columns=list(QUALITY), dtype=np.float64)
    return table.astype({"width": "Int64", "height": "Int64"}), gone

"""Weak decisions, wrong ones and suspected labels: which images, and what sets them apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues

from melascope import files
from melascope.arrays import Float64
from melascope.errors import DataError, ImageError
from melascope.evaluate.figure import Measured
from melascope.evaluate.metrics import Sample, ratio
from melascope.evaluate.predictions import KEPT, QUALITY, Evaluation
from melascope.intervals import Figure
from melascope.model.decision import PredictionSets

PAGE, TABLE, REVIEW = "cases.html", "weak_decisions.csv", "suspected_labels.csv"
COLUMNS = [*KEPT, "p_malignant", "p_melanoma", "status", *QUALITY]


@dataclass(frozen=True)
class Findings:
    """Rows of predictions; galleries have the plainest cases first."""

    images: pd.DataFrame
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
    """Images whose files are missing now, and why."""


def measure(evaluation: Evaluation, *, band: tuple[float, float] | None = None) -> Findings:
    """Sort the predictions of malignancy into weak, missed and falsely alarmed, and write the tables of two of these.

    `weak_decisions.csv` and `suspected_labels.csv` go into the report folder, with the columns of `COLUMNS`.
    Refused images count too: the question is where the model errs, whether or not it would have answered.

    Args:
        evaluation: to look into.
        band: probabilities between which a decision is weak, both ends left out; by default those are weak for which
            the model's prediction sets leave the other answer open.

    Raises:
        DataError: if the band is not within 0 to 1, the predictions lack image quality, or no image is left.
        ModelError: if the model's card cannot be read.
    """
    card, out = evaluation.card(), evaluation.folder
    if not {*QUALITY} <= {*evaluation.predictions.columns}:
        raise DataError(
            f"{out}: its predictions are of an older version, without image quality; evaluate again"
        )
    findings = find(evaluation.predictions, card.threshold["malignant"], card.prediction_sets, band)
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
) -> Findings:
    """Sort predictions of malignancy as `measure` does.

    Args:
        predictions: as `melascope.evaluate.predictions.predict` returns them.
        threshold: the operating point, a calibrated probability.
        sets: of the model's card.
        band: see `measure`.

    Raises:
        DataError: if the band is not within 0 to 1, or no image is left.
    """
    low, high = band or (sets.low, sets.high)
    if band and not 0 <= low < high <= 1:
        raise DataError(f"{low:g},{high:g}: a band needs 0 <= low < high <= 1")
    images = predictions[predictions["p_malignant"].notna()].reset_index(drop=True)
    gone = _gone(images["path"])
    if len(gone) == len(images):
        raise DataError(f"{gone[0] if gone else 'no image could be read'}; evaluate again")
    p = images["p_malignant"]
    called = p >= threshold
    is_weak = (p > low) & (p < high) if band else sets.weak(p.to_numpy(), called.to_numpy())
    images = images.assign(weak=is_weak, called=called)
    positive, negative = (images["malignant"].eq(value).fillna(False).astype(bool) for value in (True, False))
    from_middle = (p - (low + high) / 2).abs()
    weak = images[images["weak"]]
    return Findings(
        images,
        weak.loc[from_middle[weak.index].sort_values(kind="stable").index],
        images[positive & ~called].sort_values("p_malignant", kind="stable"),
        images[negative & called].sort_values("p_malignant", ascending=False, kind="stable"),
        images.loc[_suspected(images)],
        tuple(gone),
    )


def error_rates(images: pd.DataFrame) -> dict[str, Figure]:
    """How often the answer at the threshold is wrong.

    Args:
        images: of `Findings`.

    Returns:
        The share of wrong answers among `weak` decisions and `others`, and their `difference`; over images whose truth
        is known.
    """
    known = images[images["malignant"].notna()]
    nothing = Figure(None, n=0, reason="no such image")
    if known.empty:
        return dict.fromkeys(("weak", "others", "difference"), nothing)
    wrong = known["called"] != known["malignant"].astype(bool)
    sample = Sample.of(wrong, known["p_malignant"], pd.factorize(known["group"])[0])
    weak = known["weak"].to_numpy(bool)[sample.order]
    parts = {"weak": weak, "others": ~weak}

    def statistics(weights: Float64) -> dict[str, Float64]:
        rates = {
            name: ratio(weights[:, part & sample.truth].sum(axis=1), weights[:, part].sum(axis=1))
            for name, part in parts.items()
        }
        return {**rates, "difference": rates["weak"] - rates["others"]}

    measured = Measured(sample, "malignant", statistics)
    rates = {name: measured.figure(name, part) if part.any() else nothing for name, part in parts.items()}
    both = weak.any() and not weak.all()
    return {**rates, "difference": measured.figure("difference") if both else nothing}


def _suspected(images: pd.DataFrame) -> "pd.Index[Any]":
    """Labels that are likely wrong, by a model that did not learn from them (Northcutt et al. 2021)."""
    known = images[images["malignant"].notna()]
    labels = known["malignant"].to_numpy(dtype=np.intp)
    if len(np.unique(labels)) < 2:
        return known.index[:0]
    p = known["p_malignant"].to_numpy()
    issues = find_label_issues(
        labels, np.stack([1 - p, p], axis=1), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    suspected: pd.Index[Any] = known.index[issues]
    return suspected


def _gone(locators: "pd.Series[str]") -> list[str]:
    """The images whose files are missing, and why."""
    gone = []
    for locator in locators:
        try:
            with files.opened(locator):
                pass
        except ImageError as error:
            gone.append(str(error))
    return gone

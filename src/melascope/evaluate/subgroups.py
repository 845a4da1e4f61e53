"""Figures of parts: a model that does well on the whole may fail a clinic, an age or a diagnosis."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from melascope.evaluate import calibration_error
from melascope.evaluate.figure import Measured, sample_of
from melascope.evaluate.metrics import Confusion, Floats, Ranked, Reliability, Sample
from melascope.labels import FAMILIES, NOT_RECORDED, family

ENOUGH = 10  # independent groups of either class below which a figure says too little to be read
_AGES = {"under 30": 30, "30 to 49": 50, "50 to 69": 70, "70 and over": np.inf}  # each up to


def sources(
    known: pd.DataFrame, target: str, threshold: float, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Figures of every source, and of every data set that has several (`SET/CLINIC`).

    Args:
        known: predictions of images whose target is known.
        target: `malignant` or `melanoma`.
        threshold: the model's operating point for it.
        resamples: for the intervals.
        seed: for the resamples.

    Returns:
        Rows of `source`, `whole` (whether it sums up a data set's clinics), `n`, `n_positive`, `n_groups`,
        `too_small` (fewer than `ENOUGH` groups of either class) and the figures `roc_auc`, `sensitivity` and
        `specificity`, at the threshold, `calibration_error` and `uncalibrated_error`.
    """
    source = known["source"].astype(str)
    sets = source.str.partition("/")[0]
    rows = []
    for data_set in sorted(sets.unique()):
        inside = sorted(source[sets == data_set].unique())
        names = [(data_set, True, sets == data_set)] if len(inside) > 1 else []
        names += [(name, False, source == name) for name in inside]
        for name, whole, chosen in names:
            part = known[chosen]
            measured = _measured(part, target, threshold, resamples, seed)
            raw = sample_of(part, target, calibrated=False)
            rows.append(
                {
                    "source": name,
                    "whole": whole,
                    **_figures(measured),
                    "uncalibrated_error": calibration_error.error(raw, target, resamples, seed),
                    "calibration_error": calibration_error.figure(measured, seed),
                }
            )
    return rows


def patients(
    known: pd.DataFrame, target: str, threshold: float, resamples: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Figures by `sex`, `age`, `site` and `skin_type`, those who are not recorded last.

    What is the same for all images, or recorded for none, tells nobody apart and is left out.

    Args and rows are those of `sources`, but for `part` in place of `source` and `whole`.
    """
    told = {
        "sex": known["sex"].str.lower(),
        "age": pd.cut(known["age_approx"], [-1, *_AGES.values()], right=False, labels=list(_AGES)),
        "site": known["site"].str.lower(),
        "skin_type": known["skin_type"],
    }
    parts = {name: list(_words(column)) for name, column in told.items()}
    return {
        name: [
            {"part": word, **_figures(_measured(known[chosen], target, threshold, resamples, seed))}
            for word, chosen in some
        ]
        for name, some in parts.items()
        if len(some) > 1
    }


def diagnoses(
    predictions: pd.DataFrame, target: str, threshold: float, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """How often lesions of each family of diagnoses are called malignant, or melanoma.

    Args:
        predictions: of images that could be read; the target need not be known.
        target: as for `sources`, and so are the others.
        threshold: see there.
        resamples: see there.
        seed: see there.

    Returns:
        Rows of `part`, `n`, `n_groups`, `too_small` and the figure `called`, the share with that answer.
    """
    names = [*FAMILIES, "other", NOT_RECORDED]  # -1, a family that is not known, is the last
    numbers = predictions["diagnosis"].map(family)
    rows = []
    for number in [*range(len(names) - 1), -1]:
        part = predictions[numbers == number]
        if part.empty:
            continue
        groups = part["group"].nunique()
        rows.append(
            {
                "part": names[number],
                "n": len(part),
                "n_groups": groups,
                "too_small": groups < ENOUGH,
                "called": called(part, target, threshold, resamples, seed),
            }
        )
    return rows


def called(part: pd.DataFrame, target: str, threshold: float, resamples: int, seed: int) -> dict[str, Any]:
    """The figure of the share of images, whatever they are, that are called malignant, or melanoma."""
    sample = Sample.of(np.ones(len(part)), part[f"p_{target}"], part["group"])

    def statistics(weights: Floats) -> dict[str, Floats]:
        return {"called": Confusion.of(sample, weights, threshold).sensitivity}

    return Measured(sample, target, statistics, resamples, seed).figure("called", sample.truth)


def _words(column: "pd.Series[Any]") -> Iterable[tuple[str, "pd.Series[bool]"]]:
    words = (
        column.cat.categories
        if isinstance(column.dtype, pd.CategoricalDtype)
        else sorted(column.dropna().unique())
    )
    for word in words:
        if (column == word).any():
            yield str(word), column == word
    if column.isna().any():
        yield NOT_RECORDED, column.isna()


def _measured(part: pd.DataFrame, target: str, threshold: float, resamples: int, seed: int) -> Measured:
    sample = sample_of(part, target)

    def statistics(weights: Floats) -> dict[str, Floats]:
        seen = Confusion.of(sample, weights, threshold)
        return {
            "roc_auc": Ranked.of(sample, weights).roc_auc(),
            "sensitivity": seen.sensitivity,
            "specificity": seen.specificity,
            "calibration_error": Reliability.of(sample, weights).error(),
        }

    return Measured(sample, target, statistics, resamples, seed)


def _figures(measured: Measured) -> dict[str, Any]:
    sample, truth = measured.sample, measured.sample.truth
    return {
        "n": len(truth),
        "n_positive": int(truth.sum()),
        "n_groups": sample.groups(),
        "too_small": min(sample.groups(truth), sample.groups(~truth)) < ENOUGH,
        "roc_auc": measured.figure("roc_auc"),
        "sensitivity": measured.figure("sensitivity", truth),
        "specificity": measured.figure("specificity", ~truth),
    }

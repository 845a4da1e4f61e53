"""Figures of parts: a model that is good overall may fail in a clinic, an age or a diagnosis."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from melascope import manifest
from melascope.arrays import Float64
from melascope.evaluate import calibration_error
from melascope.evaluate.figure import Measured, Question, sample_of
from melascope.evaluate.metrics import Confusion, Ranked, Reliability, Sample
from melascope.intervals import Figure
from melascope.labels import FAMILIES, NOT_RECORDED, family

ENOUGH = 10  # independent groups of either class; a figure over fewer is marked as too small to read
_AGES = {"under 30": 30, "30 to 49": 50, "50 to 69": 70, "70 and over": np.inf}  # each up to


def sources(known: pd.DataFrame, question: Question) -> list[dict[str, Any]]:
    """Figures of every source, and of every data set that has several (`SET/CLINIC`).

    Args:
        known: predictions of images whose target is known.
        question: what is asked of them.

    Returns:
        Rows of `source`, `whole` (whether it sums up a data set's clinics), `n`, `n_positive`, `n_groups`,
        `too_small` (fewer than `ENOUGH` groups of either class) and the figures `roc_auc`, `sensitivity` and
        `specificity`, at the threshold, `calibration_error` and `uncalibrated_error`.
    """
    source = known["source"].astype(str)
    sets = manifest.data_set(source)
    rows = []
    for data_set in sorted(sets.unique()):
        inside = sorted(source[sets == data_set].unique())
        names = [(data_set, True, sets == data_set)] if len(inside) > 1 else []
        names += [(name, False, source == name) for name in inside]
        for name, whole, chosen in names:
            measured = _measured(known[chosen], question)
            raw = sample_of(known[chosen], question.target, calibrated=False)
            rows.append(
                {
                    "source": name,
                    "whole": whole,
                    **_figures(measured),
                    "uncalibrated_error": calibration_error.error(raw, question),
                    "calibration_error": calibration_error.figure(measured),
                }
            )
    return rows


def patients(known: pd.DataFrame, question: Question) -> dict[str, list[dict[str, Any]]]:
    """Figures by `sex`, `age`, `site` and `skin_type`, those who are not recorded last.

    A property that is the same for all images, or recorded for none, is left out.

    Args and rows are those of `sources`, but for `part` in place of `source` and `whole`.
    """
    columns = {
        "sex": known["sex"].str.lower(),
        "age": pd.cut(known["age_approx"], [-1, *_AGES.values()], right=False, labels=list(_AGES)),
        "site": known["site"].str.lower(),
        "skin_type": known["skin_type"],
    }
    parts = {name: list(_words(column)) for name, column in columns.items()}
    return {
        name: [{"part": word, **_figures(_measured(known[chosen], question))} for word, chosen in some]
        for name, some in parts.items()
        if len(some) > 1
    }


def diagnoses(predictions: pd.DataFrame, question: Question) -> list[dict[str, Any]]:
    """How often lesions of each family of diagnoses are called malignant, or melanoma.

    Args:
        predictions: of images that could be read; the target need not be known.
        question: what is asked of them.

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
                "called": called(part, question),
            }
        )
    return rows


def called(part: pd.DataFrame, question: Question) -> Figure:
    """The share of all images that are called malignant, or melanoma."""
    sample = Sample.of(np.ones(len(part)), part[f"p_{question.target}"], part["group"])

    def statistics(weights: Float64) -> dict[str, Float64]:
        return {"called": Confusion.of(sample, weights, question.threshold).sensitivity}

    return question.measured(sample, statistics).figure("called", sample.truth)


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


def _measured(part: pd.DataFrame, question: Question) -> Measured:
    sample = sample_of(part, question.target)

    def statistics(weights: Float64) -> dict[str, Float64]:
        seen = Confusion.of(sample, weights, question.threshold)
        return {
            "roc_auc": Ranked.of(sample, weights).roc_auc(),
            "sensitivity": seen.sensitivity,
            "specificity": seen.specificity,
            "calibration_error": Reliability.of(sample, weights).error(),
        }

    return question.measured(sample, statistics)


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

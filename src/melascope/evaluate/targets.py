"""From predictions to figures with intervals: what `metrics.json` holds of each target."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from melascope import intervals
from melascope.arrays import Float64
from melascope.evaluate import calibration_error, subgroups
from melascope.evaluate.figure import Measured, Question, sample_of
from melascope.evaluate.metrics import Confusion, Ranked, Reliability, Sample, brier, ratio
from melascope.intervals import Figure
from melascope.labels import WORDS
from melascope.model.card import Card
from melascope.model.decision import OperatingPoint

HALF = 0.5
FALSE_RATES: Float64 = np.arange(201) / 200
RECALLS: Float64 = np.arange(1, 201) / 200
CUTOFFS: Float64 = np.arange(1, 61) / 100  # at a higher risk than these, everybody would act

_VALUES = ("ppv", "npv")
_RANKING = ("roc_auc", "pr_auc", "brier")
_DECISION = ("sensitivity", "specificity", "precision", "accuracy", "balanced_accuracy", "f1")


def assess_target(
    predictions: pd.DataFrame,
    card: Card,
    target: str,
    resamples: int,
    seed: int,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Measure one target.

    Args:
        predictions: the table of `melascope.evaluate.predictions.predict`.
        card: of the model that made them.
        target: `malignant` or `melanoma`.
        resamples: for the intervals.
        seed: of the resamples.
        prevalence: share of positives where the model is to be used, for `at_prevalence`.

    Returns:
        `n`, `n_positive`, `n_groups`, `n_unknown`, `threshold`, `reason` (why there is nothing more), else
        the figures `roc_auc`, `pr_auc`, `brier`, `calibration_error`, `uncalibrated_error`, and `at_threshold` and
        `at_half` (see `_decisions`), `operating_points` (each with its `sensitivity`, `threshold`, `held`, and the
        figures `sensitivity_found`, `specificity`, and at a prevalence `ppv` and `npv`), `sources`, `subgroups` and
        `diagnoses` (see `melascope.evaluate.subgroups`), `without_refused`, `at_prevalence` (`prevalence` and the
        figures `ppv` and `npv` at the threshold, or None), and `curves` for the drawings.
    """
    read = predictions[predictions["status"] != "error"]
    known = read[read[target].notna() & read[f"p_{target}"].notna()]
    threshold = card.threshold.get(target)
    result: dict[str, Any] = {
        "n": len(known),
        "n_positive": int(known[target].sum()),
        "n_groups": int(known["group"].nunique()),
        "n_unknown": len(read) - len(known),
        "threshold": threshold,
        "reason": None,
    }
    if threshold is None:
        return {**result, "reason": f"the model did not learn {target}"}
    if known.empty:
        return {**result, "reason": f"no image whose {target} is known could be read"}
    question, points = Question(target, threshold, resamples, seed), card.operating_points[target]
    raw = sample_of(known, target, calibrated=False)
    measured = _measured(sample_of(known, target), question, points, prevalence)
    return {
        **result,
        **{name: measured.figure(name) for name in _RANKING},
        "calibration_error": calibration_error.figure(measured),
        "uncalibrated_error": calibration_error.error(raw, question),
        "at_threshold": _decisions(measured, target, threshold, "at_threshold."),
        "at_half": _decisions(measured, target, HALF, "at_half."),
        "operating_points": [
            _operating_point(measured, point, f"{i}.", prevalence) for i, point in enumerate(points)
        ],
        "at_prevalence": prevalence
        and {"prevalence": prevalence, **{name: measured.figure(name) for name in _VALUES}},
        "without_refused": _without_refused(known, question),
        "sources": subgroups.sources(known, question),
        "subgroups": subgroups.patients(known, question),
        "diagnoses": subgroups.diagnoses(read, question),
        "curves": _curves(measured, raw),
    }


def _measured(
    sample: Sample, question: Question, points: Sequence[OperatingPoint], prevalence: float | None
) -> Measured:
    """All statistics of a target over the same resamples."""
    thresholds = {"": question.threshold, **{f"{i}.": point.threshold for i, point in enumerate(points)}}

    def statistics(weights: Float64) -> dict[str, Float64]:
        ranked, reliability = Ranked.of(sample, weights), Reliability.of(sample, weights)
        values = {
            "roc_auc": ranked.roc_auc(),
            "pr_auc": ranked.average_precision(),
            "brier": brier(sample, weights),
            "calibration_error": reliability.error(),
            **_decision(sample, weights, question.threshold, "at_threshold."),
            **_decision(sample, weights, HALF, "at_half."),
            "roc": ranked.sensitivity_at(FALSE_RATES),
            "pr": ranked.precision_at(RECALLS),
            "observed": ratio(reliability.positive, reliability.weight),
            "benefit": net_benefit(sample, weights),
        }
        for prefix, threshold in thresholds.items():
            seen = Confusion.of(sample, weights, threshold)
            values[f"{prefix}sensitivity"], values[f"{prefix}specificity"] = (
                seen.sensitivity,
                seen.specificity,
            )
            if prevalence:
                values[f"{prefix}ppv"], values[f"{prefix}npv"] = seen.predictive(prevalence)
        return values

    return question.measured(sample, statistics)


def net_benefit(sample: Sample, weights: Float64) -> Float64:
    """What acting on the model is worth at each of `CUTOFFS`, in true positives a lesion (Vickers and Elkin 2006).

    Who acts from a probability t on takes one true positive to be worth (1 - t) / t false alarms.

    Returns:
        Shape (resamples, len(CUTOFFS)).
    """
    called = sample.probability[:, None] >= CUTOFFS
    worth = np.where(sample.truth[:, None], 1, -CUTOFFS / (1 - CUTOFFS)) * called
    return ratio(weights @ worth, np.repeat(weights.sum(axis=1)[:, None], len(CUTOFFS), axis=1))


def _operating_point(
    measured: Measured, point: OperatingPoint, prefix: str, prevalence: float | None
) -> dict[str, Any]:
    truth = measured.sample.truth
    return {
        **asdict(point),
        "sensitivity_found": measured.figure(f"{prefix}sensitivity", truth),
        "specificity": measured.figure(f"{prefix}specificity", ~truth),
        **({name: measured.figure(prefix + name) for name in _VALUES} if prevalence else {}),
    }


def _decision(sample: Sample, weights: Float64, threshold: float, prefix: str) -> dict[str, Float64]:
    seen = Confusion.of(sample, weights, threshold)
    values = {name: getattr(seen, name) for name in _DECISION}
    support = {"0.": seen.tn + seen.fp, "1.": seen.tp + seen.fn}
    for side, confusion in (("0.", seen.turned), ("1.", seen)):
        values[f"{side}precision"] = confusion.precision
        values[f"{side}recall"] = confusion.sensitivity
        values[f"{side}f1"] = confusion.f1
    for name in ("precision", "recall", "f1"):
        no, yes = values[f"0.{name}"], values[f"1.{name}"]
        values[f"macro.{name}"] = (no + yes) / 2
        values[f"weighted.{name}"] = (no * support["0."] + yes * support["1."]) / sum(support.values())
    return {prefix + name: value for name, value in values.items()}


def _decisions(measured: Measured, target: str, threshold: float, prefix: str) -> dict[str, Any]:
    """Figures of yes and no at a threshold.

    Returns:
        `threshold`, the figures of `_DECISION`, `confusion` (counts `tp`, `fp`, `fn`, `tn`) and `report`: a
        row for each class, the mean of both and their mean weighted by support, with figures for precision,
        recall and f1.
    """
    sample = measured.sample
    called, truth = sample.probability >= threshold, sample.truth
    over = {"sensitivity": truth, "specificity": ~truth, "precision": called}
    confusion = Confusion.of(sample, sample.once, threshold)
    rows = []
    for side, words in enumerate(WORDS[target]):
        right = truth if side else ~truth
        parts = {"precision": called if side else ~called, "recall": right, "f1": None}
        figures = {name: measured.figure(f"{prefix}{side}.{name}", part) for name, part in parts.items()}
        rows.append({"class": words, **figures, "support": int(right.sum())})
    for mean in ("macro", "weighted"):
        figures = {name: measured.figure(f"{prefix}{mean}.{name}") for name in ("precision", "recall", "f1")}
        rows.append({"class": f"{mean} mean", **figures, "support": len(truth)})
    return {
        "threshold": threshold,
        **{name: measured.figure(prefix + name, over.get(name)) for name in _DECISION},
        "confusion": {name: int(getattr(confusion, name)[0]) for name in confusion._fields},
        "report": rows,
    }


def melanomas_caught(predictions: pd.DataFrame, question: Question) -> Figure | None:
    """Share of the melanomas that the decision on `malignant` catches; None without a melanoma."""
    read = predictions[predictions["status"] != "error"]
    melanomas = read[read["melanoma"].fillna(False).astype(bool)]
    return None if melanomas.empty else subgroups.called(melanomas, question)


def _without_refused(known: pd.DataFrame, question: Question) -> dict[str, Any] | None:
    kept = known[known["status"] == "ok"]
    if len(kept) == len(known):
        return None
    if kept.empty:
        return {"n": 0, "roc_auc": None, "reason": "every image was refused"}
    sample = sample_of(kept, question.target)
    measured = question.measured(sample, lambda w: {"roc_auc": Ranked.of(sample, w).roc_auc()})
    return {"n": len(kept), "roc_auc": measured.figure("roc_auc")}


def _curves(measured: Measured, raw: Sample) -> dict[str, Any]:
    """What the drawings need; None for curves that need both classes where one is missing."""
    truth = measured.sample.truth
    both = truth.any() and not truth.all()
    axes = {"roc": FALSE_RATES, "pr": RECALLS, "benefit": CUTOFFS}
    roc, pr, benefit = (_curve(measured, name, x) if both else None for name, x in axes.items())
    return {
        "roc": roc,
        "pr": pr,
        "calibration": calibration_error.bins(measured),
        "uncalibrated": calibration_error.outline(raw),
        "benefit": benefit,
    }


def _curve(measured: Measured, name: str, x: Float64) -> dict[str, list[float]]:
    low, high = intervals.band(measured.draws[name])
    curve = {"y": measured.observed[name], "low": low, "high": high}
    return {"x": x.tolist(), **{key: np.round(values, 5).tolist() for key, values in curve.items()}}

"""Calibration: its expected error with an interval, and the bins of the drawing.

A percentile interval of the error would be wrong. Noise in a bin can only add to the error, so it is too high
in a small sample, and in a resample of that sample higher still: for a well calibrated model, percentiles
of resamples never reach down to the truth. Two remedies: the pivotal interval (Davison and Hinkley 1997, the
"basic bootstrap") takes off in the sample what resampling adds, and its lower end is 0 where the error is no
larger than chance alone makes it for a perfectly calibrated model (consistency resampling, Broecker and Smith
2007).
"""

from typing import Any

import numpy as np

from melascope import intervals
from melascope.arrays import Float64
from melascope.evaluate.figure import Measured, Question
from melascope.evaluate.metrics import BINS, Reliability, Sample, bin_of
from melascope.intervals import LEVEL, Figure, Interval

_CHUNK = 2**22
_DRAWN = 500  # of a model that is right, for one quantile and a mean


def by_chance(sample: Sample, resamples: int = _DRAWN, seed: int = 0) -> Float64:
    """Calibration errors that a perfectly calibrated model would show on these images, shape (resamples,).

    The truth of each image is drawn from its probability, one draw a group, since a lesion has one truth.
    """
    rng = np.random.default_rng(seed)
    inside = (bin_of(sample)[:, None] == np.arange(BINS)).astype(np.float64)
    predicted = sample.probability @ inside
    rows = max(1, _CHUNK // len(sample.truth))
    errors = []
    for start in range(0, resamples, rows):
        drawn = rng.random((min(rows, resamples - start), sample.groups()))[:, sample.group]
        positive = (drawn < sample.probability).astype(np.float64) @ inside
        errors.append(np.abs(positive - predicted).sum(axis=1) / len(sample.truth))
    return np.concatenate(errors)


def interval(value: float, draws: Float64, chance: Float64) -> Interval:
    """The interval of a calibration error.

    Args:
        value: the error of the sample.
        draws: its values over resamples of the groups.
        chance: errors of a perfectly calibrated model, from `by_chance`.
    """
    if np.ptp(draws) < 1e-12:
        return Interval(None, None, "every resample gives the same value: too few groups for an interval")
    low, high = (float(2 * value - q) for q in np.quantile(draws, [(1 + LEVEL) / 2, (1 - LEVEL) / 2]))
    if value <= np.quantile(chance, LEVEL):
        low = 0.0
    return Interval(min(max(low, 0.0), value), max(high, value))


def error(sample: Sample, question: Question) -> Figure:
    """The calibration error of a sample, where nothing else is asked of it."""

    def statistics(weights: Float64) -> dict[str, Float64]:
        return {"calibration_error": Reliability.of(sample, weights).error()}

    return figure(question.measured(sample, statistics))


def figure(measured: Measured) -> Figure:
    """The statistic `calibration_error` of a sample, and the mean of `by_chance`."""
    truth, value = measured.sample.truth, float(measured.observed["calibration_error"])
    chance = by_chance(measured.sample, seed=measured.seed)
    low, high, reason = interval(value, measured.draws["calibration_error"], chance)
    method = "pivotal, see melascope.evaluate.calibration_error"
    return Figure(value, low, high, len(truth), int(truth.sum()), reason, method, float(chance.mean()))


def outline(sample: Sample) -> list[dict[str, float]]:
    """The bins that hold an image, without intervals: `predicted`, `observed` and `n`."""
    seen = Reliability.of(sample, sample.once)
    return [
        {
            "predicted": float(seen.predicted[0, i] / n),
            "observed": float(seen.positive[0, i] / n),
            "n": int(n),
        }
        for i in np.flatnonzero(seen.weight[0])
        for n in [seen.weight[0, i]]
    ]


def bins(measured: Measured) -> list[dict[str, Any]]:
    """The same bins with `n_positive` and the interval of `observed`: `low` and `high`."""
    sample, place = measured.sample, bin_of(measured.sample)
    rows: list[dict[str, Any]] = []
    for row, i in zip(outline(sample), np.unique(place), strict=True):
        inside = place == i
        ends = intervals.interval(measured.draws["observed"][:, i])
        if row["observed"] in {0, 1}:
            ends = intervals.exact(row["observed"], sample.groups(inside))
        positive = int(sample.truth[inside].sum())
        rows.append({**row, "low": ends.low, "high": ends.high, "n_positive": positive})
    return rows

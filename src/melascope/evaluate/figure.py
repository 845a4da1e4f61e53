"""A figure: `{"value", "low", "high", "n"}`, a value, its 95 % interval, the number of images it is over.

`n_positive` is there where both classes count; `reason` says why a value or an interval is null, and
`interval` names the method where it is not the percentiles over resampled groups.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from melascope import intervals
from melascope.evaluate.metrics import Floats, Sample, ratio
from melascope.labels import WORDS


def sample_of(table: pd.DataFrame, target: str, *, calibrated: bool = True) -> Sample:
    """The sample of a target, from rows of predictions where it is known; of what the network says, uncalibrated."""
    probability = table[f"p_{target}"] if calibrated else expit(table[f"logit_{target}"])
    return Sample.of(table[target].astype(bool), probability, table["group"])


class Measured:
    """The statistics of a sample, on the images as they are and on every resample."""

    def __init__(
        self, sample: Sample, target: str, statistics: intervals.Statistics, resamples: int, seed: int
    ) -> None:
        self.sample, self._words = sample, WORDS[target]
        self.found: dict[str, Floats] = {k: v[0] for k, v in statistics(sample.once).items()}
        self.draws = intervals.draws(statistics, sample.group, resamples, seed)

    def figure(self, name: str, over: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """One figure, over all images or those chosen."""
        n = len(self.sample.truth) if over is None else int(over.sum())
        value = float(self.found[name])
        told: dict[str, Any] = {"value": value, "low": None, "high": None, "n": n}
        if over is None:
            told["n_positive"] = int(self.sample.truth.sum())
        if np.isnan(value):
            return {**told, "value": None, "reason": self._why_undefined(name, n)}
        interval = intervals.interval(self.draws[name])
        share = over is not None or name.rpartition(".")[2] == "accuracy"
        if share and value in {0.0, 1.0}:
            # All right or all wrong: resampling the same again would claim certainty.
            interval = intervals.exact(value, self.sample.groups(over))
            told["interval"] = "Clopper-Pearson over groups"
        told |= {"low": interval.low, "high": interval.high}
        return {**told, "reason": interval.reason} if interval.reason else told

    def _why_undefined(self, name: str, n: int) -> str:
        positive = int(self.sample.truth.sum())
        if n == 0 and name.endswith("precision"):
            return "no image was given this answer"
        if positive in {0, len(self.sample.truth)}:
            return f"no image is {self._words[0 if positive else 1]}"
        return "one of the two answers was never given"


def mean(values: Floats, group: "pd.Series[Any]", seed: int) -> dict[str, Any]:
    """Mean with its interval over groups."""
    if not len(values):
        return {"value": None, "low": None, "high": None, "n": 0, "reason": "no such image"}

    def statistics(weights: Floats) -> dict[str, Floats]:
        return {"mean": ratio(weights @ values, weights.sum(axis=1))}

    drawn = intervals.draws(statistics, pd.factorize(group)[0], seed=seed)["mean"]
    interval = intervals.interval(drawn)
    told = {"value": float(values.mean()), "low": interval.low, "high": interval.high, "n": len(values)}
    return {**told, "reason": interval.reason} if interval.reason else told

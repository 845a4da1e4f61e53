"""From a sample and what is asked of it to figures: values with their intervals over resampled groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from melascope import intervals
from melascope.arrays import Float64
from melascope.evaluate.metrics import Ranked, Sample, ratio
from melascope.intervals import RESAMPLES, Figure
from melascope.labels import WORDS


def sample_of(table: pd.DataFrame, target: str, *, calibrated: bool = True) -> Sample:
    """The sample of a target, from rows of predictions where it is known.

    Args:
        table: rows of predictions, as `melascope.evaluate.predictions.predict` returns them.
        target: `malignant` or `melanoma`.
        calibrated: whether to take the calibrated probability, or the sigmoid of the logit.
    """
    probability = table[f"p_{target}"] if calibrated else expit(table[f"logit_{target}"])
    return Sample.of(table[target].astype(bool), probability, table["group"])


class Measured:
    """The statistics of a sample, on the images as they are and on every resample.

    Attributes:
        sample: the images.
        seed: of the resamples.
        observed: each statistic on the images as they are.
        draws: each statistic on the resamples, one a row.
    """

    def __init__(
        self,
        sample: Sample,
        target: str,
        statistics: intervals.Statistics,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        self.sample, self.seed, self._words = sample, seed, WORDS[target]
        self.observed: dict[str, Float64] = {k: v[0] for k, v in statistics(sample.once).items()}
        self.draws = intervals.draws(statistics, sample.group, resamples, seed)

    def figure(self, name: str, over: NDArray[np.bool_] | None = None) -> Figure:
        """One figure.

        Args:
            name: of the statistic.
            over: the images that it is a share of, shape (n,); None for a statistic of all.
        """
        truth = self.sample.truth
        n, n_positive = (len(truth), int(truth.sum())) if over is None else (int(over.sum()), None)
        value = float(self.observed[name])
        if np.isnan(value):
            return Figure(None, n=n, n_positive=n_positive, reason=self._why_undefined(name, n))
        share = over is not None or name.rpartition(".")[2] == "accuracy"
        if share and value in {0.0, 1.0}:
            # All right or all wrong: resampling the same again would claim certainty.
            low, high, reason = intervals.exact(value, self.sample.groups(over))
            return Figure(value, low, high, n, n_positive, reason, "Clopper-Pearson over groups")
        low, high, reason = intervals.interval(self.draws[name])
        return Figure(value, low, high, n, n_positive, reason)

    def _why_undefined(self, name: str, n: int) -> str:
        positive = int(self.sample.truth.sum())
        if n == 0 and name.endswith("precision"):
            return "no image was given this answer"
        if positive in {0, len(self.sample.truth)}:
            return f"no image is {self._words[0 if positive else 1]}"
        return "one of the two answers was never given"


@dataclass(frozen=True)
class Question:
    """What is asked of predictions."""

    target: str
    """`malignant` or `melanoma`."""
    threshold: float
    """The calibrated probability of the target from which on the answer is yes."""
    resamples: int = RESAMPLES
    seed: int = 0

    def measured(self, sample: Sample, statistics: intervals.Statistics) -> Measured:
        """Measure statistics of a sample of this target."""
        return Measured(sample, self.target, statistics, self.resamples, self.seed)


def mean(values: Float64, group: "pd.Series[Any]", seed: int) -> Figure:
    """A mean over images.

    Args:
        values: shape (n,).
        group: of each image.
        seed: of the resamples.
    """
    if not len(values):
        return Figure(None, n=0, reason="no such image")

    def statistics(weights: Float64) -> dict[str, Float64]:
        return {"mean": ratio(weights @ values, weights.sum(axis=1))}

    drawn = intervals.draws(statistics, pd.factorize(group)[0], seed=seed)["mean"]
    low, high, reason = intervals.interval(drawn)
    return Figure(float(values.mean()), low, high, len(values), reason=reason)


def roc_auc_gain(first: pd.DataFrame, second: pd.DataFrame, target: str, seed: int = 0) -> Figure:
    """ROC-AUC of a second model minus that of a first, on the same images.

    Both are measured on each resample, so what makes an image hard for both cancels out: the interval is narrower
    than two intervals side by side would suggest.

    Args:
        first: predictions of a model, as `melascope.evaluate.predictions.predict` returns them.
        second: those of another, of the same images in the same order.
        target: `malignant` or `melanoma`.
        seed: of the resamples.

    Returns:
        The gain, over the images whose target is known and that both models could read.

    Raises:
        ValueError: if the images are not the same.
    """
    if first["path"].tolist() != second["path"].tolist():
        raise ValueError("predictions of different images cannot be compared")
    known = first[target].notna() & first[f"p_{target}"].notna() & second[f"p_{target}"].notna()
    before, after = (sample_of(predictions[known], target) for predictions in (first, second))
    columns = before.weights_of(after)

    def statistics(weights: Float64) -> dict[str, Float64]:
        reached = Ranked.of(after, weights[:, columns]).roc_auc()
        return {"gain": reached - Ranked.of(before, weights).roc_auc()}

    return Measured(before, target, statistics, seed=seed).figure("gain")


def documents(results: Any) -> Any:
    """Results as JSON files hold them: every `Figure` in dictionaries and lists as its `document`."""
    if isinstance(results, Figure):
        return results.document()
    if isinstance(results, dict):
        return {key: documents(value) for key, value in results.items()}
    return [documents(item) for item in results] if isinstance(results, list) else results

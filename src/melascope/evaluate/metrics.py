"""Metrics of a binary decision as functions of weights, so that one call measures thousands of resamples.

Everywhere, `weights` has shape (resamples, images), images in the order of the sample, and a result has one
value a resample; row by row it equals scikit-learn's metric with `sample_weight`. What is not defined, such
as a ROC-AUC of one class, is NaN: never a stand-in value.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from melascope.arrays import Float64

BINS = 15  # of equal width, as in Guo et al. (2017)


@dataclass(frozen=True)
class Sample:
    """Images with a known target, in descending order of probability.

    >>> sample = Sample.of([True, False, True, False], [0.9, 0.8, 0.6, 0.1], ["a", "b", "c", "d"])
    >>> Ranked.of(sample, sample.once).roc_auc()  # of four pairs of a malignant and a benign image, three in order
    array([0.75])
    >>> at = Confusion.of(sample, sample.once, threshold=0.5)
    >>> at.sensitivity, at.specificity
    (array([1.]), array([0.5]))

    Attributes:
        truth: whether the target is true, shape (n,).
        probability: predicted for the target, 0 to 1, shape (n,).
        group: number of the group of each image, 0 to number of groups - 1, shape (n,).
        order: where each image stood in what the sample was made of, shape (n,).
        ends: index of the last image of each run of equal probabilities, which no threshold can part.
    """

    truth: NDArray[np.bool_]
    probability: Float64
    group: NDArray[np.intp]
    order: NDArray[np.intp]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, truth: ArrayLike, probability: ArrayLike, group: ArrayLike) -> Self:
        """Sort images into a sample.

        Args:
            truth: true or false, shape (n,), n at least 1.
            probability: 0 to 1, shape (n,).
            group: labels of any kind, shape (n,).
        """
        chance = np.asarray(probability, dtype=np.float64)
        order = np.argsort(-chance, kind="stable")
        chance = chance[order]
        codes = np.unique(np.asarray(group), return_inverse=True)[1].astype(np.intp)
        ends = np.append(np.flatnonzero(np.diff(chance)), len(chance) - 1)
        return cls(np.asarray(truth, dtype=bool)[order], chance, codes[order], order, ends)

    @property
    def once(self) -> Float64:
        """The weights of the images as they are: one row of ones."""
        return np.ones((1, len(self.truth)))

    def weights_of(self, other: "Sample") -> NDArray[np.intp]:
        """Columns that bring weights in this sample's order into that of another sample of the same images."""
        return np.argsort(self.order)[other.order]

    def groups(self, chosen: NDArray[np.bool_] | None = None) -> int:
        """Number of groups, of all or of the chosen images."""
        return len(np.unique(self.group if chosen is None else self.group[chosen]))


def ratio(part: Float64, whole: Float64) -> Float64:
    """Part over whole; NaN where the whole is zero."""
    result: Float64 = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return result


class Ranked(NamedTuple):
    """Weight of the images at or above each distinct probability, highest first: shape (resamples, k)."""

    true: Float64
    false: Float64

    @classmethod
    def of(cls, sample: Sample, weights: Float64) -> Self:
        """Count along the ranking."""
        positive = np.cumsum(weights * sample.truth, axis=1)[:, sample.ends]
        return cls(positive, np.cumsum(weights, axis=1)[:, sample.ends] - positive)

    def roc_auc(self) -> Float64:
        """Area under the ROC curve; ties count half (Hanley and McNeil 1982)."""
        left = np.pad(self.true[:, :-1], ((0, 0), (1, 0)))
        steps = np.diff(self.false, axis=1, prepend=0)
        area = np.einsum("rk,rk->r", steps, (left + self.true) / 2)
        return ratio(area, self.true[:, -1] * self.false[:, -1])

    def average_precision(self) -> Float64:
        """PR-AUC as average precision: the step sum, without interpolation (Davis and Goadrich 2006)."""
        called = self.true + self.false
        precision = np.divide(self.true, called, out=np.zeros_like(called), where=called > 0)
        steps = np.diff(self.true, axis=1, prepend=0)
        both = (self.true[:, -1] > 0) & (self.false[:, -1] > 0)  # with one class there is nothing to rank
        return np.where(both, ratio(np.einsum("rk,rk->r", steps, precision), self.true[:, -1]), np.nan)

    def sensitivity_at(self, false_rate: Float64) -> Float64:
        """The ROC curve at given rates of false alarms, shape (resamples, len(false_rate))."""
        rows = []
        for true, false in zip(self.true, self.false, strict=True):
            if true[-1] > 0 and false[-1] > 0:
                x, y = (np.append(0, counts / counts[-1]) for counts in (false, true))
                rows.append(np.interp(false_rate, x, y))
            else:
                rows.append(np.full(len(false_rate), np.nan))
        return np.stack(rows)

    def precision_at(self, recall: Float64) -> Float64:
        """The PR curve: precision at the highest threshold that reaches each recall, as `sensitivity_at`."""
        precision = ratio(self.true, self.true + self.false)
        rows = []
        for true, values in zip(self.true, precision, strict=True):
            reached = np.searchsorted(true, recall * true[-1] * (1 - 1e-12))
            rows.append(values[reached] if true[-1] > 0 else np.full(len(recall), np.nan))
        return np.stack(rows)


class Confusion(NamedTuple):
    """Weight of true and false positives and negatives, each of shape (resamples,)."""

    tp: Float64
    fp: Float64
    fn: Float64
    tn: Float64

    @classmethod
    def of(cls, sample: Sample, weights: Float64, threshold: float) -> Self:
        """Count at a threshold; a probability equal to it is called positive."""
        called, truth = sample.probability >= threshold, sample.truth
        cells = np.stack([truth & called, ~truth & called, truth & ~called, ~truth & ~called], axis=1)
        return cls(*(weights @ cells.astype(np.float64)).T)

    @property
    def turned(self) -> "Confusion":
        """The same seen from the other class."""
        return Confusion(self.tn, self.fn, self.fp, self.tp)

    @property
    def sensitivity(self) -> Float64:
        """Share of positives that are called positive: recall of the positive class."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Float64:
        """Share of negatives that are called negative."""
        return self.turned.sensitivity

    @property
    def precision(self) -> Float64:
        """Share of what is called positive that is: the positive predictive value."""
        return ratio(self.tp, self.tp + self.fp)

    def predictive(self, prevalence: float) -> tuple[Float64, Float64]:
        """Positive and negative predictive value where another share of lesions is positive (Bayes' rule).

        Args:
            prevalence: that share, between 0 and 1.

        A test that catches 90 of 100 malignant lesions and leaves 80 of 100 benign ones alone is right in 60 of 100
        alarms where a quarter of the lesions is malignant, and in 4 where 1 in 100 is:

        >>> test = Confusion(*np.array([[90.0], [20.0], [10.0], [80.0]]))
        >>> [round(float(test.predictive(share)[0][0]), 2) for share in (0.25, 0.01)]
        [0.6, 0.04]
        """
        right, alarm = self.sensitivity * prevalence, (1 - self.specificity) * (1 - prevalence)
        clear, missed = self.specificity * (1 - prevalence), (1 - self.sensitivity) * prevalence
        return ratio(right, right + alarm), ratio(clear, clear + missed)

    @property
    def f1(self) -> Float64:
        """Harmonic mean of precision and recall."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> Float64:
        """Share called right."""
        return ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def balanced_accuracy(self) -> Float64:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2


def bin_of(sample: Sample) -> NDArray[np.intp]:
    """The bin of each image's probability, 0 to `BINS` - 1, shape (n,)."""
    return np.minimum((sample.probability * BINS).astype(np.intp), BINS - 1)


class Reliability(NamedTuple):
    """Weight, weight of positives and sum of probability in each bin, of shape (resamples, BINS)."""

    weight: Float64
    positive: Float64
    predicted: Float64

    @classmethod
    def of(cls, sample: Sample, weights: Float64) -> Self:
        """Sum up in `BINS` bins of equal width."""
        inside = (bin_of(sample)[:, None] == np.arange(BINS)).astype(np.float64)
        columns = (inside, inside * sample.truth[:, None], inside * sample.probability[:, None])
        return cls(*(weights @ column for column in columns))

    def error(self) -> Float64:
        """Expected calibration error of the probability of the positive class (Guo et al. 2017)."""
        return ratio(np.abs(self.positive - self.predicted).sum(axis=1), self.weight.sum(axis=1))


def brier(sample: Sample, weights: Float64) -> Float64:
    """Mean squared distance between probability and outcome (Brier 1950)."""
    return ratio(weights @ (sample.probability - sample.truth) ** 2, weights.sum(axis=1))

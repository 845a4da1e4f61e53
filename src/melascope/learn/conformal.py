"""Conformal prediction sets: malignant, benign or both, so that the true class is missed rarely enough.

This is split conformal prediction for each class by itself (Vovk 2012). The unit is the case: of several images of a
case, the one that fits its class least counts, so more photographs make no case more certain. For cases like those of
validation and any network, a class is ruled out wrongly in at most 1 - coverage of its cases. Another clinic may have
other cases.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from melascope.arrays import Floats
from melascope.model.decision import COVERAGE, DIGITS, PredictionSets


class Reference(NamedTuple):
    """Probability of malignancy of the least fitting image of each case, ascending."""

    malignant: Floats
    benign: Floats

    @classmethod
    def of(cls, probabilities: Floats, truth: Floats, groups: NDArray[np.object_]) -> Self:
        """Build it from images that the network was not trained on.

        Args:
            probabilities: of malignancy, calibrated, shape (n,).
            truth: 1 for malignant, 0 for benign, shape (n,).
            groups: labels of independent cases, shape (n,).
        """
        chances, positive = np.asarray(probabilities, dtype=np.float64), np.asarray(truth) == 1
        return cls(
            _least(chances[positive], np.asarray(groups)[positive]),
            -_least(-chances[~positive], np.asarray(groups)[~positive])[::-1],
        )

    def doubt(self, probabilities: Floats) -> NDArray[np.float64]:
        """How far an image is from ruling out one of both classes: the smaller of both conformal p-values.

        With a coverage above 1 minus this value, the set of the image holds both classes.

        Args:
            probabilities: of malignancy, calibrated, shape (n,).

        Returns:
            Shape (n,), 0 to 1.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        below = np.searchsorted(self.malignant, p, side="right")
        above = len(self.benign) - np.searchsorted(self.benign, p, side="left")
        return np.minimum((1 + below) / (1 + len(self.malignant)), (1 + above) / (1 + len(self.benign)))

    def sets(self, coverage: float = COVERAGE) -> PredictionSets:
        """Prediction sets of this coverage: a class is ruled out where its p-value is at most 1 - coverage.

        With fewer than coverage / (1 - coverage) cases of a class, it is never ruled out.

        >>> chances = np.concatenate([np.linspace(0.31, 0.99, 39), np.linspace(0.01, 0.69, 39)])
        >>> truth = np.repeat([1, 0], 39)
        >>> made = Reference.of(chances, truth, np.arange(78).astype(object)).sets(0.95)
        >>> made.low, made.high  # between them, neither is ruled out
        (0.327894, 0.672106)
        """
        digits = 10**DIGITS
        miss, alarm = (int((1 - coverage) * (1 + len(part)) + 1e-9) for part in self)
        # Outwards, because decisions use rounded probabilities.
        return PredictionSets(
            coverage,
            float(np.floor(self.malignant[miss - 1] * digits) / digits) if miss else 0.0,
            float(np.ceil(self.benign[-alarm] * digits) / digits) if alarm else 1.0,
            len(self.malignant),
            len(self.benign),
        )


def _least(values: Floats, groups: NDArray[np.object_]) -> Floats:
    _, case = np.unique(groups, return_inverse=True)
    lowest = np.full(case.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, case, values)
    return np.sort(lowest)

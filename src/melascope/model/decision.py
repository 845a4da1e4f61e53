"""From a network's logit to a probability and a decision; `melascope.learn.fit_decision` fits them."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from melascope.arrays import Floats

DIGITS = 6  # of probabilities and thresholds in rows; decisions use the rounded values, so that a row is consistent
CONFIDENCE = 0.95  # with which an operating point holds its sensitivity
COVERAGE = 0.95  # of conformal prediction sets


@dataclass(frozen=True)
class Calibration:
    """A monotonic map from logit to probability."""

    method: str
    """`temperature`, `platt` or `isotonic`."""
    slope: float = 1.0
    """Of the logit inside a sigmoid; 1 / temperature for temperature scaling. Unused with knots."""
    offset: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    """Rising pairs of logit and probability; between them the map is straight, beyond them flat."""

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """From JSON.

        Raises:
            ValueError, TypeError: if the map is not monotonic, or does not give probabilities.
        """
        knots = tuple((float(z), float(p)) for z, p in document.get("knots", ()))
        made = cls(document["method"], float(document["slope"]), float(document["offset"]), knots)
        if not (0 < made.slope < np.inf and abs(made.offset) < np.inf):
            raise ValueError("a calibration needs a positive slope")
        if knots:
            logits, probabilities = np.array(knots).T
            steps = np.diff(probabilities)
            if not np.isfinite(logits).all() or (np.diff(logits) <= 0).any() or not (steps >= 0).all():
                raise ValueError("the knots of a calibration must rise")
            if not 0 <= probabilities[0] <= probabilities[-1] <= 1:
                raise ValueError("the knots of a calibration must be probabilities")
        return made

    def __call__(self, logits: Floats) -> NDArray[np.float64]:
        """Probability for each logit, 0 to 1, in the same shape.

        >>> Calibration("temperature", slope=0.5)(np.array([-2.0, 0.0, 2.0])).round(3)  # a temperature of 2
        array([0.269, 0.5  , 0.731])
        """
        z = np.asarray(logits, dtype=np.float64)
        if self.knots:
            x, y = np.array(self.knots).T
            return np.asarray(np.interp(z, x, y))
        with np.errstate(over="ignore"):  # exp of a large number is infinite, and 1 / that is 0
            return np.asarray(1 / (1 + np.exp(-(self.slope * z + self.offset))))


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it is for."""

    sensitivity: float
    """The target, 0 to 1."""
    threshold: float
    """Calibrated probability from which on the answer is yes."""
    held: bool
    """Whether validation shows the sensitivity with `CONFIDENCE`; if not, there were too few positives, and the
    threshold only reached the sensitivity there."""


@dataclass(frozen=True)
class PredictionSets:
    """Conformal prediction sets for malignancy; see `melascope.learn.conformal`.

    Malignant is ruled out below a probability of `low`, benign above `high`. By default, neither is ruled out.
    """

    coverage: float = COVERAGE
    """For at least this share of each class, the true class is not ruled out; 0 to 1."""
    low: float = 0.0
    high: float = 1.0
    malignant: int = 0
    """Number of malignant cases that the limits rest on."""
    benign: int = 0

    def weak(self, probability: Floats, called: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether the prediction set holds more or less than the answer alone.

        Args:
            probability: of malignancy, calibrated, 0 to 1.
            called: whether the answer is malignant, in the same shape.

        >>> sets = PredictionSets(low=0.2, high=0.6)
        >>> sets.weak(np.array([0.1, 0.4, 0.9]), np.array([False, True, True]))
        array([False,  True, False])
        """
        p = np.round(probability, DIGITS)
        malignant, benign = p >= self.low, p <= self.high
        return np.where(called, benign | ~malignant, malignant | ~benign)

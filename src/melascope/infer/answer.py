"""The answer for one image; its fields are those of a JSON line, which are a contract."""

import json
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.model.decision import DIGITS, PredictionSets
from melascope.quality import Quality


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A classification, a refusal or an error, by `status`."""

    path: str
    status: str
    """`ok`; `refused`: decoded, but unfit for classification; `error`: could not be read."""
    label: str | None = None
    """`malignant` or `benign`; None unless the status is `ok`."""
    confidence: float | None = None
    """The calibrated probability of the label, 0 to 1."""
    malignant: float | None = None
    """Calibrated probability that the lesion is malignant, 0 to 1; also given for refused images."""
    melanoma: float | None = None
    """Calibrated probability that it is a melanoma, 0 to 1; None where the model was not trained for melanoma."""
    threshold: float
    """From this probability of `malignant` on, the label is `malignant`."""
    weak: bool | None = None
    """Whether the other label cannot be ruled out: the conformal prediction set does not hold the label alone."""
    reason: str | None = None
    """Why an image was refused or could not be read."""
    model: str
    """Name and content of the model."""
    heat: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """Raw class activation maps, shape (targets, h, w); this and what follows are not part of the contract."""
    logits: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """The network's output, shape (targets,), before calibration."""
    quality: Quality | None = field(default=None, repr=False, compare=False)
    """Of the image, as refusals rest on it; None where it could not be read."""

    def row(self) -> dict[str, Any]:
        """The contract's fields, in its order; probabilities to `DIGITS` digits."""
        values = {name: getattr(self, name) for name in COLUMNS}
        return {name: round(v, DIGITS) if isinstance(v, float) else v for name, v in values.items()}

    def json(self) -> str:
        """One line of JSON, in ASCII: other characters of a path are escaped, also those that are not UTF-8."""
        return json.dumps(self.row(), allow_nan=False)


COLUMNS = tuple(item.name for item in fields(Answer) if item.repr)


def decide(probability: float, threshold: float, sets: PredictionSets) -> tuple[str, float, bool]:
    """Classify by a calibrated probability of `malignant`.

    Returns:
        The label, its confidence (the probability of the label), and whether the decision is weak.

    >>> decide(0.4, threshold=0.3, sets=PredictionSets(low=0.2, high=0.6))
    ('malignant', 0.4, True)
    """
    called = round(probability, DIGITS) >= round(threshold, DIGITS)
    label, confidence = ("malignant", probability) if called else ("benign", 1 - probability)
    return label, confidence, bool(sets.weak(np.array(probability), np.array(called)))

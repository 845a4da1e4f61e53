"""`model.json`, the card of a model: what went in, what comes out, and how far to trust it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from melascope import files
from melascope.arrays import Floats
from melascope.errors import ModelError
from melascope.labels import NOTICE, TARGETS
from melascope.model.decision import CONFIDENCE, Calibration, OperatingPoint, PredictionSets

FORMAT = 3
INTENDED_USE = (
    f"{NOTICE} It is for dermoscopic images of single skin lesions. "
    "It is not a medical device and must not decide about a patient."
)
MEANING = {
    "malignant": "probability that the lesion is malignant, of any kind",
    "melanoma": "probability that the lesion is a melanoma",
}


@dataclass(frozen=True)
class Card:
    """What `model.json` holds.

    Mappings by target always have the key `malignant`. `melanoma` is absent where the data had too few labels of it,
    such as folders named benign and malignant. That output is then not shown.
    """

    name: str
    architecture: str
    """Name of the backbone in `keras.applications`."""
    weights: str
    """Where the backbone's weights started: `imagenet`, `none`, or a file's name and hash."""
    parameters: int
    input_size: int
    """Side in pixels of the square that the network sees; RGB, values 0 to 255."""
    calibration: Mapping[str, Calibration]
    """By target: the map from logit to probability, fitted on validation."""
    operating_points: Mapping[str, Sequence[OperatingPoint]]
    """By target, chosen on validation; the same sensitivities for each."""
    sensitivity: float
    """Of the operating point in use."""
    keras_sha256: str
    """Hash of the `.keras` file that this card describes."""
    prediction_sets: PredictionSets = field(default_factory=PredictionSets)
    """For malignant, fitted on validation."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The data set: hash, counts by split and source, licences."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings and course of the training."""
    gate: Mapping[str, Any] = field(default_factory=dict)
    """`sha256` of the gate's file, and how well it separates (see `melascope.learn.fit_gate`); empty without a gate."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Figures on validation, with intervals and n."""
    versions: Mapping[str, str] = field(default_factory=dict)
    calibrated_on: Mapping[str, Any] = field(default_factory=dict)
    """By target: the `n`, `n_positive` and `n_groups` that calibration and operating points rest on, and the
    cross-validated `log_loss` by method."""
    license: str = "unknown"
    created: str = ""

    @property
    def threshold(self) -> dict[str, float]:
        """By target: calibrated probability from which on the answer is yes."""
        return {name: point.threshold for name, point in self.points.items()}

    @property
    def points(self) -> dict[str, OperatingPoint]:
        """By target: the operating point in use."""
        return {
            name: next(point for point in points if point.sensitivity == self.sensitivity)
            for name, points in self.operating_points.items()
        }

    @property
    def sensitivities(self) -> list[float]:
        """Of the operating points that the model has."""
        return [point.sensitivity for point in self.operating_points[TARGETS[0]]]

    def at(self, sensitivity: float | None) -> Self:
        """The same model at another of its operating points; None changes nothing.

        Raises:
            ModelError: if it has no such point.
        """
        chosen = self.sensitivity if sensitivity is None else sensitivity
        known = self.sensitivities
        if chosen not in known:
            raise ModelError(
                f"{self.identity}: has no operating point for a sensitivity of {chosen:g}; "
                f"it has {', '.join(f'{item:g}' for item in known)}"
            )
        return replace(self, sensitivity=chosen)

    def probability(self, logits: Floats) -> NDArray[np.float64]:
        """Calibrated probability of each of `TARGETS`.

        A melanoma is malignant, so its probability must not be higher. Where two calibrations contradict this, both
        become their geometric mean (pool adjacent violators, of log probabilities: Ayer et al. 1955). So a suspicion
        of melanoma also raises that of malignancy.

        Args:
            logits: shape (N, targets).

        Returns:
            Shape (N, targets), 0 to 1; NaN for a target that the model was not trained for.
        """
        result = np.full(np.shape(logits), np.nan)
        for i, name in enumerate(TARGETS):
            if name in self.calibration:
                result[:, i] = self.calibration[name](logits[:, i])
        malignant, melanoma = (TARGETS.index(name) for name in ("malignant", "melanoma"))
        contrary = result[:, melanoma] > result[:, malignant]
        result[contrary] = np.sqrt(result[contrary].prod(axis=1, keepdims=True))
        return result

    @property
    def identity(self) -> str:
        """Name and content of the model, as answers quote it: `NAME@` and 12 digits of the hash."""
        return f"{self.name}@{self.keras_sha256[:12]}"

    def write(self, path: str | Path) -> None:
        """Write the card as JSON."""
        files.write_text(path, json.dumps(self.document(), indent=2) + "\n")

    def document(self) -> dict[str, Any]:
        """What the file holds: the fields, and what follows from them or is the same for every model."""
        return {
            "format": FORMAT,
            **asdict(self),
            "outputs": {name: MEANING[name] for name in TARGETS if name in self.calibration},
            "threshold": self.threshold,
            "confidence": CONFIDENCE,
            "crop": "central square",
            "intended_use": INTENDED_USE,
        }

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a card.

        Raises:
            ModelError: if it is missing, not JSON, or lacks what inference needs.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ModelError(f"{path}: a card of format {document['format']}; this reads {FORMAT}")
            card = cls._of(document)
            card._check()
        except FileNotFoundError as error:
            raise ModelError(f"{path}: missing; a model is a .keras file with its .json beside it") from error
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path}: not a model's card ({type(error).__name__}: {error})") from error
        return card

    @classmethod
    def _of(cls, document: dict[str, Any]) -> Self:
        values = {name: document[name] for name in cls.__dataclass_fields__}
        values["calibration"] = {k: Calibration.of(v) for k, v in values["calibration"].items()}
        values["operating_points"] = {
            name: tuple(OperatingPoint(**point) for point in points)
            for name, points in values["operating_points"].items()
        }
        values["prediction_sets"] = PredictionSets(**values["prediction_sets"])
        return cls(**values)

    def _check(self) -> None:
        """Raise ValueError for values that make no decision."""
        if not {TARGETS[0]} <= set(self.calibration) == set(self.operating_points) <= set(TARGETS):
            raise ValueError("calibration and operating points must be given for the same targets")
        if not all(0 <= end <= 1 for end in (self.prediction_sets.low, self.prediction_sets.high)):
            raise ValueError("the ends of prediction sets must be probabilities")
        for points in self.operating_points.values():
            if not all(0 <= point.threshold <= 1 for point in points):
                raise ValueError("a threshold must be a probability")
            if self.sensitivity not in [point.sensitivity for point in points]:
                raise ValueError(f"an operating point for the sensitivity {self.sensitivity} is missing")

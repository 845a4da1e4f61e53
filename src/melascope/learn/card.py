"""`model.json`, the card that travels with a model: what went in, what comes out, and how far to trust it.

Read by inference, so it imports no framework.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from melascope import files
from melascope.errors import ModelError
from melascope.labels import TARGETS

FORMAT = 1
INTENDED_USE = (
    "Research on dermoscopic images of single skin lesions. It supports a clinician and never replaces "
    "one; it is not a medical device and must not decide about a patient."
)
MEANING = {
    "malignant": "probability that the lesion is malignant, of any kind",
    "melanoma": "probability that the lesion is a melanoma",
}


@dataclass(frozen=True)
class Card:
    """What `model.json` holds.

    Mappings by target always have the key `malignant`. `melanoma` is absent where the data told too little of
    it to learn, such as folders named benign and malignant: the output is then not to be shown.
    """

    name: str
    architecture: str
    """Name of the backbone in `keras.applications`."""
    weights: str
    """Where the backbone's weights started: `imagenet`, `none`, or a file's name and hash."""
    parameters: int
    input_size: int
    """Side in pixels of the square that the network sees; RGB, values 0 to 255."""
    temperature: Mapping[str, float]
    """By target: a probability is sigmoid(logit / temperature) (Guo et al. 2017), fitted on validation."""
    threshold: Mapping[str, float]
    """By target: calibrated probability from which on the answer is yes, chosen on validation."""
    sensitivity: float
    """The sensitivity on validation that `threshold` was chosen for."""
    keras_sha256: str
    """Hash of the `.keras` file that this card describes."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The data set: hash, counts by split and source, licences."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings and course of the training."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Figures on validation, with intervals and n."""
    versions: Mapping[str, str] = field(default_factory=dict)
    license: str = "unknown"
    created: str = ""

    @property
    def identity(self) -> str:
        """Name and content of the model, as answers quote it: `NAME@` and 12 digits of the hash."""
        return f"{self.name}@{self.keras_sha256[:12]}"

    def write(self, path: str | Path) -> None:
        """Write the card as JSON."""
        files.write_text(path, json.dumps(self.document(), indent=2) + "\n")

    def document(self) -> dict[str, Any]:
        """What the file holds: the fields, and what is the same for every model."""
        return {
            "format": FORMAT,
            **asdict(self),
            "outputs": {name: MEANING[name] for name in TARGETS if name in self.threshold},
            "crop": "central square",
            "calibrated_on": "validation",
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
            card = cls(**{name: document[name] for name in cls.__dataclass_fields__})
            for by_target in (card.temperature, card.threshold):
                if not all(name in TARGETS and 0 < by_target[name] < float("inf") for name in by_target):
                    raise ValueError("temperatures and thresholds must be positive")
            if TARGETS[0] not in card.temperature or set(card.temperature) != set(card.threshold):
                raise ValueError("temperature and threshold must be given for the same targets")
        except FileNotFoundError as error:
            raise ModelError(f"{path}: missing; a model is a .keras file with its .json beside it") from error
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path}: not a model's card ({type(error).__name__}: {error})") from error
        return card


def copy_model(source: Path, target: Path, name: str) -> None:
    """Copy a `.keras` file and its card, which comes last and gets another name."""
    files.copy(source, target)
    replace(Card.read(source.with_suffix(".json")), name=name).write(target.with_suffix(".json"))

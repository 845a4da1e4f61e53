"""The gate: is an image a dermoscopic image of a lesion at all?

A network for lesions answers for a landscape too, and often with certainty. The gate is a multinomial logistic
regression on features from the middle of the network, so it costs little. `melascope.learn.fit_gate` fits it.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from melascope import files
from melascope.arrays import Float32
from melascope.errors import ModelError

CLIP = 5.0  # standard deviations, beyond any lesion; a feature further off counts no more
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Gate:
    """How much more an image looks like a lesion than like each kind of image that must be refused."""

    mean: Float32
    """Of each feature, shape (features,)."""
    scale: Float32
    """Standard deviation of each feature, shape (features,)."""
    weights: Float32
    """Of standardised features, for the log odds of a lesion against each kind less that kind's threshold; shape
    (features + 1, kinds), the last row for the intercepts."""

    def scores(self, features: Float32) -> Float32:
        """Log odds of a lesion against each kind, less that kind's threshold.

        Args:
            features: shape (N, features).

        Returns:
            Shape (N, kinds).
        """
        x = np.clip((features - self.mean) / self.scale, -CLIP, CLIP)
        return np.asarray(x @ self.weights[:-1] + self.weights[-1])

    def knows(self, features: Float32) -> NDArray[np.bool_]:
        """Whether images pass, shape (N,): each score is at least 0."""
        return np.asarray((self.scores(features) >= 0).all(axis=1))

    def write(self, path: Path) -> None:
        """Write it as a plain NumPy archive; the same values give the same bytes."""
        with files.replacing(path) as temporary:
            np.savez(temporary, **{item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def read(cls, path: Path, sha256: str) -> Self:
        """Read a gate.

        Args:
            path: of the file.
            sha256: its hash, from the model's card.

        Raises:
            ModelError: if it is missing, damaged or of another model.
        """
        try:
            if path.stat().st_size > _MAX_BYTES or files.sha256(path) != sha256:
                raise ModelError(f"{path}: not the gate that the model's card describes; get it again")
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{item.name: arrays[item.name].astype(np.float32) for item in fields(cls)})
        except FileNotFoundError as error:
            raise ModelError(f"{path}: missing; the model's card says that it has a gate") from error
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{path}: not a gate ({error})") from error

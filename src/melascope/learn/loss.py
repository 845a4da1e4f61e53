"""The loss: binary cross-entropy of each target, balanced by class, blind to missing labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.learn.backend import keras

_MOST = 20.0  # a class seldomer than one in forty weighs no more, or its few images would be learned by heart


def class_weights(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights that give both classes of a target the same total.

    Args:
        targets: shape (n, targets): 1, 0, or NaN for missing.

    Returns:
        Shape (2, targets): weight of a negative and of a positive image. Zeros for a target that lacks a
        class: there is nothing to learn.
    """
    positive = np.nansum(targets == 1, axis=0)
    negative = np.nansum(targets == 0, axis=0)
    known = positive + negative
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.minimum(np.stack([known / (2 * negative), known / (2 * positive)]), _MOST)
    weights[:, (positive == 0) | (negative == 0)] = 0
    return np.asarray(weights, dtype=np.float32)


class BalancedCrossEntropy(keras.losses.Loss):  # type: ignore[misc]
    """Class-weighted cross-entropy whose logits keep the prevalence of the data.

    Weights alone would teach the network that both classes are equally common. The logit is therefore shifted
    by the log ratio of the weights inside the loss (logit adjustment, Menon et al. 2021), so that the
    network's own output stays a probability at the data's prevalence.
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        super().__init__(name="balanced_cross_entropy")
        negative, positive = weights
        shift = np.log(positive, out=np.zeros_like(positive), where=positive > 0)
        shift -= np.log(negative, out=np.zeros_like(negative), where=negative > 0)
        self._negative, self._positive, self._shift = map(
            keras.ops.convert_to_tensor, (negative, positive, shift)
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Mean over known labels. `y_true`: 1, 0, or NaN for missing; `y_pred`: logits; both (N, targets)."""
        ops = keras.ops
        known = ops.logical_not(ops.isnan(y_true))
        truth = ops.where(known, y_true, ops.zeros_like(y_true))
        logits = y_pred + self._shift
        # Cross-entropy of a logit, in the form that cannot overflow.
        loss = ops.relu(logits) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))
        weight = truth * self._positive + (1 - truth) * self._negative
        return ops.sum(loss * weight * ops.cast(known, loss.dtype), axis=-1)

"""The loss: cross-entropy of each target and of the diagnosis, balanced by class, blind to missing labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.labels import TARGETS
from melascope.learn.backend import keras

_MAX_WEIGHT = 20.0  # that of a class with one image in forty; a network would learn rarer images by heart
_MIN_FAMILY = 40  # a smaller family counts as one of so many images
FAMILY_SHARE = 0.5  # of the diagnosis in the loss, beside the targets
# The weight of an image is the size of its family to this power. At -1/2, nevi lose so much to carcinomas that melanoma
# is worse separated from nevi. The diagnosis has no such conflict: there each family has an output of its own.
_TARGET_POWER = -1 / 3
_FAMILY_POWER = -1 / 2


def target_weights(targets: NDArray[np.float32], families: NDArray[np.intp]) -> NDArray[np.float32]:
    """Weights that give both classes of a target the same total, and rare diagnoses in a class a fair share of it.

    Without that share, "not melanoma" would be learned from nevi alone, and carcinomas would be called melanoma. Some
    clinics have many of them. The weight of an image is the inverse cube root of the size of its family.

    Args:
        targets: shape (n, targets): 1, 0, or NaN for missing.
        families: shape (n,): a number a family of diagnoses; images without one are a family of their own.

    Returns:
        Shape (n, targets). Zero for a missing target, and for all images where a target lacks a class.
    """
    _, family, sizes = np.unique(families, return_inverse=True, return_counts=True)
    share = _share(sizes, _TARGET_POWER)[family]
    weights = np.zeros_like(targets)
    for i, truth in enumerate(targets.T):
        classes = [truth == 0, truth == 1]
        if all(members.any() for members in classes):
            for members in classes:
                half = (~np.isnan(truth)).sum() / 2
                weights[members, i] = np.minimum(share[members] / share[members].sum() * half, _MAX_WEIGHT)
    return weights


def family_weights(families: NDArray[np.intp], count: int) -> NDArray[np.float32]:
    """Weights of the diagnosis in the loss, one row an image: one-hot, times the weight of the family.

    Args:
        families: shape (n,): number of the family of diagnoses, -1 for unknown.
        count: of families there are.

    Returns:
        Shape (n, count); a row of zeros for an unknown family.
    """
    weights = np.zeros((len(families), count), dtype=np.float32)
    known = np.flatnonzero(families >= 0)
    if len(known):
        sizes = np.bincount(families[known], minlength=count)
        share = _share(sizes, _FAMILY_POWER)
        weights[known, families[known]] = (share * len(known) / (share * sizes).sum())[families[known]]
    return weights


def _share(sizes: NDArray[np.intp], power: float) -> NDArray[np.float64]:
    """The weight of an image of a family of this size, relative to those of other families."""
    return np.asarray(np.maximum(sizes, _MIN_FAMILY) ** power)


class BalancedCrossEntropy(keras.losses.Loss):  # type: ignore[misc]
    """Weighted cross-entropy of targets and diagnosis whose logits of targets keep the prevalence of the data.

    Weights alone would teach the network that both classes are equally common. The logit is therefore shifted
    by the log ratio of the weights inside the loss (logit adjustment, Menon et al. 2021), so that the
    network's own output stays a probability near the data's prevalence.

    `y_true`, shape (N, 2 * targets + families): for each target the weight of "yes", then for each the weight of
    "no" (from `loss_targets`), then `family_weights`. `y_pred`, shape (N, targets + families): logits.
    """

    def __init__(self, targets: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        super().__init__(name="balanced_cross_entropy")
        shift = []
        for truth, weight in zip(targets.T, weights.T, strict=True):
            means = [weight[truth == value].mean() if (truth == value).any() else 0 for value in (0, 1)]
            shift.append(np.log(means[1] / means[0]) if all(means) else 0)
        self._shift = keras.ops.convert_to_tensor(np.asarray(shift, dtype=np.float32))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, shape (N,)."""
        ops, n = keras.ops, len(TARGETS)
        yes, no, family = y_true[:, :n], y_true[:, n : 2 * n], y_true[:, 2 * n :]
        logits = y_pred[:, :n] + self._shift
        of_targets = ops.sum(yes * ops.softplus(-logits) + no * ops.softplus(logits), axis=-1)
        return of_targets - FAMILY_SHARE * ops.sum(family * ops.log_softmax(y_pred[:, n:]), axis=-1)


def loss_targets(
    targets: NDArray[np.float32],
    weights: NDArray[np.float32],
    families: NDArray[np.float32],
    smoothing: float = 0.0,
) -> NDArray[np.float32]:
    """The `y_true` of `BalancedCrossEntropy`.

    Args:
        targets: shape (n, targets): 1, 0, or NaN for missing.
        weights: from `target_weights`.
        families: from `family_weights`.
        smoothing: label smoothing (Szegedy et al. 2016), 0 to 1.

    Returns:
        Shape (n, 2 * targets + families).
    """
    yes = (1 - smoothing) * np.nan_to_num(targets) + smoothing / 2
    return np.hstack([weights * yes, weights * (1 - yes), families]).astype(np.float32)

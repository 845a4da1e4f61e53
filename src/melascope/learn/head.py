"""Stage one of transfer learning: a linear head on the features of a frozen backbone.

The head is a convex problem, so it is solved instead of trained: logistic regression on features computed
once. The result is also the baseline that fine-tuning must beat.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from melascope.learn.batches import PlainBatches
from melascope.progress import Progress, silent

_PENALTIES = tuple(10.0**power for power in range(-5, 1))  # C of scikit-learn, chosen on validation


def outputs(
    part: Any, pixels: NDArray[np.uint8], batch: int, what: str, progress: Progress = silent
) -> NDArray[np.float32]:
    """What a part of a network says of images: that up to `pool` gives features, up to `logits` the head's answer.

    Args:
        part: from `network.truncated_at`, with an output of shape (N, channels); one made for each call would be
            compiled each time.
        pixels: shape (n, S, S, 3).
        batch: images at once.
        what: words for `progress`.

    Returns:
        Shape (n, channels).
    """
    batches = PlainBatches(pixels, np.arange(len(pixels)), batch)
    found = []
    for i in range(len(batches)):
        found.append(np.asarray(part.predict_on_batch(batches[i][0])))
        progress(what, min((i + 1) * batch, len(pixels)), len(pixels))
    return np.concatenate(found)


def fit(
    train: NDArray[np.float32],
    train_targets: NDArray[np.float32],
    validation: NDArray[np.float32],
    validation_targets: NDArray[np.float32],
    learnable: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logistic regression of each target on features, its penalty chosen by ROC-AUC on validation.

    Args:
        train: features, shape (n, channels).
        train_targets: shape (n, targets): 1, 0, or NaN for missing.
        validation: features, shape (m, channels).
        validation_targets: shape (m, targets).
        learnable: shape (targets,): whether a target has both classes everywhere; others get zeros.

    Returns:
        Kernel (channels, targets) and bias (targets,) of the head, for features as they come.
    """
    scaler = StandardScaler().fit(train)
    x, x_validation = scaler.transform(train), scaler.transform(validation)
    kernel = np.zeros((train.shape[1], len(learnable)), dtype=np.float32)
    bias = np.zeros(len(learnable), dtype=np.float32)
    for target in np.flatnonzero(learnable):
        known, judged = ~np.isnan(train_targets[:, target]), ~np.isnan(validation_targets[:, target])
        models = [
            LogisticRegression(C=penalty, max_iter=1000).fit(x[known], train_targets[known, target])
            for penalty in _PENALTIES
        ]
        best = max(
            models,
            key=lambda model: roc_auc_score(
                validation_targets[judged, target], model.decision_function(x_validation[judged])
            ),
        )
        weights = best.coef_[0] / scaler.scale_
        kernel[:, target] = weights
        bias[target] = best.intercept_[0] - weights @ scaler.mean_
    return kernel, bias

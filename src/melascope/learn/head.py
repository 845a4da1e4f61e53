"""Stage one of transfer learning: a linear head on the features of a frozen backbone.

The head is a convex problem, so it is solved: by logistic regression on features that are computed once. It is also the
baseline that fine-tuning must beat.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

_PENALTIES = tuple(10.0**power for power in range(-5, 1))  # C of scikit-learn, chosen on validation


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
        known, scored = ~np.isnan(train_targets[:, target]), ~np.isnan(validation_targets[:, target])
        models = [
            LogisticRegression(C=penalty, max_iter=1000).fit(x[known], train_targets[known, target])
            for penalty in _PENALTIES
        ]
        best = max(
            models,
            key=lambda model: roc_auc_score(
                validation_targets[scored, target], model.decision_function(x_validation[scored])
            ),
        )
        weights = best.coef_[0] / scaler.scale_
        kernel[:, target] = weights
        bias[target] = best.intercept_[0] - weights @ scaler.mean_
    return kernel, bias

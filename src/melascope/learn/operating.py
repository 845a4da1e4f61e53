"""From logits to a decision: temperature and threshold, both chosen on validation."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

Floats = NDArray[np.floating]


def fit_temperature(logits: Floats, truth: Floats) -> float:
    """The temperature that makes sigmoid(logit / temperature) most likely (Guo et al. 2017).

    Args:
        logits: shape (n,).
        truth: 0 or 1, shape (n,).

    Returns:
        Between 0.05 and 20; above 1 for an over-confident network.
    """

    def cost(log_temperature: float) -> float:
        scaled = np.asarray(logits, dtype=np.float64) / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - scaled * truth))

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def probability(logits: Floats, temperature: float) -> Floats:
    """Calibrated probability, 0 to 1."""
    return np.asarray(expit(logits / temperature))


def threshold_for_sensitivity(probabilities: Floats, truth: Floats, sensitivity: float) -> float:
    """The highest threshold at which at least this share of positives is at or above it.

    Args:
        probabilities: shape (n,).
        truth: 0 or 1, shape (n,), with at least one 1.
        sensitivity: wanted share, above 0, at most 1.
    """
    positives = np.sort(np.asarray(probabilities)[np.asarray(truth) == 1])
    missed = int(np.floor((1 - sensitivity) * len(positives) + 1e-9))
    # A logit far below zero underflows; a threshold of 0 would call everything malignant anyway.
    return max(float(positives[missed]), float(np.finfo(np.float32).tiny))

"""Fit calibration and operating points, both on validation."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binom
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedGroupKFold

from melascope.arrays import Floats
from melascope.errors import DataError
from melascope.labels import TARGETS
from melascope.learn import conformal
from melascope.model.card import Card
from melascope.model.decision import CONFIDENCE, DIGITS, Calibration, OperatingPoint

# Dermatologists reached the first two on images of ISIC 2016, in naming and in managing lesions (Marchetti et al.
# 2018). The third is clinical: at most one malignant lesion in twenty is missed.
SENSITIVITIES = (0.82, 0.89, 0.95, 0.98)
DEFAULT = 0.95
_FOLDS = 5
_MIN_FOR_ISOTONIC = 1000  # with fewer images it overfits (Niculescu-Mizil and Caruana 2005)


def temperature(logits: Floats, truth: Floats) -> Calibration:
    """The most likely temperature of sigmoid(logit / temperature) (Guo et al. 2017)."""
    return Calibration("temperature", *_sigmoid(logits, truth, with_offset=False))


def platt(logits: Floats, truth: Floats) -> Calibration:
    """The most likely sigmoid of slope and offset, its targets drawn in from 0 and 1 (Platt 1999)."""
    positive = float(np.sum(truth))
    negative = len(truth) - positive
    smooth = np.where(np.asarray(truth) == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    return Calibration("platt", *_sigmoid(logits, smooth, with_offset=True))


def isotonic(logits: Floats, truth: Floats) -> Calibration:
    """The rising steps that fit best (Zadrozny and Elkan 2002); 0 and 1 are excluded, since no sample proves them."""
    least = 1 / (len(truth) + 2)
    steps = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(logits, truth)
    knots = zip(steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist(), strict=True)
    return Calibration("isotonic", knots=tuple(knots))


METHODS: dict[str, Callable[[Floats, Floats], Calibration]] = {
    "temperature": temperature,
    "platt": platt,
    "isotonic": isotonic,
}  # the simplest first


def fit(
    card: Card,
    logits: Floats,
    truth: NDArray[np.float32],
    groups: NDArray[np.object_],
    on: str = "validation",
) -> Card:
    """Fit a card's calibration and operating points, for each target with known images of both classes.

    For malignant, prediction sets are fitted too.

    Args:
        card: of the model.
        logits: of images that it was not trained on, shape (n, targets).
        truth: shape (n, targets): 1, 0, or NaN for missing.
        groups: labels of independent cases, shape (n,).
        on: words for these images.

    Returns:
        The new card.

    Raises:
        DataError: if malignant or benign images are missing.
    """
    calibration, calibrated_on = {}, {}
    for i, target in enumerate(TARGETS):
        known = ~np.isnan(truth[:, i])
        y = truth[known, i]
        if 0 < y.sum() < len(y):
            calibration[target], losses = calibrate(logits[known, i], y, groups[known])
            calibrated_on[target] = {
                "split": on,
                "n": len(y),
                "n_positive": int(y.sum()),
                "n_groups": len(np.unique(groups[known])),
                "log_loss": losses,
            }
    if TARGETS[0] not in calibration:
        raise DataError(f"{on}: calibration needs malignant and benign images")
    card = replace(card, calibration=calibration, calibrated_on=calibrated_on)
    chances = card.probability(logits)
    operating_points = {}
    for i, target in enumerate(TARGETS):
        known = ~np.isnan(truth[:, i])
        if target in calibration:
            operating_points[target] = fit_operating_points(chances[known, i], truth[known, i], groups[known])
    known = ~np.isnan(truth[:, 0])
    reference = conformal.Reference.of(chances[known, 0], truth[known, 0], groups[known])
    return replace(card, operating_points=operating_points, prediction_sets=reference.sets())


def calibrate(
    logits: Floats, truth: Floats, groups: NDArray[np.object_]
) -> tuple[Calibration, dict[str, float]]:
    """Compare the methods and fit the best.

    They are compared by log loss, cross-validated over groups. A method with more freedom is taken only if its gain is
    larger than two standard errors of that gain, and steps only with 1,000 images or more: with few, freedom follows
    noise.

    Args:
        logits: shape (n,).
        truth: 0 or 1, shape (n,), both there.
        groups: labels of independent cases, shape (n,).

    Returns:
        The calibration, fitted to all images, and the cross-validated log loss of each method; no losses if there are
        too few cases to compare.
    """
    truth = np.asarray(truth)
    folds = min(_FOLDS, *(len(np.unique(groups[truth == value])) for value in (0, 1)))
    if folds < 2:
        return temperature(logits, truth), {}
    losses = {name: np.zeros(len(truth)) for name in METHODS}
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for train, test in splits.split(logits[:, None], truth, groups):
        for name, method in METHODS.items():
            p = method(logits[train], truth[train])(logits[test])
            likely = np.where(truth[test] == 1, p, 1 - p)
            losses[name][test] = -np.log(np.maximum(likely, np.finfo(float).tiny))
    best = "temperature"
    for name in METHODS:
        gain = losses[best] - losses[name]
        if name == "isotonic" and len(truth) < _MIN_FOR_ISOTONIC:
            continue
        if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)):
            best = name
    return METHODS[best](logits, truth), {name: float(loss.mean()) for name, loss in losses.items()}


def fit_operating_points(
    probabilities: Floats, truth: Floats, groups: NDArray[np.object_]
) -> tuple[OperatingPoint, ...]:
    """An operating point for each of `SENSITIVITIES`; none misses more lesions than one for a lower sensitivity.

    Args:
        probabilities: calibrated, as a card gives them, shape (n,).
        truth: 0 or 1, shape (n,), with at least one 1.
        groups: labels of independent cases, shape (n,).
    """
    made: list[OperatingPoint] = []
    for sensitivity in SENSITIVITIES:
        threshold = confident_threshold(probabilities, truth, groups, sensitivity)
        held = threshold is not None
        if threshold is None:
            # A threshold that merely reaches a sensitivity may lie above one that holds a lower one.
            reached = threshold_for_sensitivity(probabilities, truth, sensitivity)
            threshold = min([reached, *(point.threshold for point in made)])
        # Downwards, so that the case which decided the threshold is still at or above it.
        made.append(OperatingPoint(sensitivity, np.floor(threshold * 10**DIGITS) / 10**DIGITS, held))
    return tuple(made)


def confident_threshold(
    probabilities: Floats,
    truth: Floats,
    groups: NDArray[np.object_],
    sensitivity: float,
    confidence: float = CONFIDENCE,
) -> float | None:
    """The highest threshold whose sensitivity is at least this with this confidence; None with too few cases.

    If a threshold truly missed more than 1 - `sensitivity` of the cases, it would miss k or fewer of n with a
    probability of at most binom.cdf(k, n, 1 - sensitivity): the exact bound of Clopper and Pearson (1934).
    Thresholds are tried from low to high and the first that fails ends it, so trying many costs no confidence
    (fixed sequence testing, Angelopoulos et al. 2021). A case of several images is caught when all of them are.

    The confidence is that of sampling cases like these; another clinic may have others.

    Of 100 malignant cases, four may be missed for a sensitivity of 0.9 that holds; ten would merely reach it:

    >>> p, truth, case = np.arange(100) / 100, np.ones(100), np.arange(100).astype(object)
    >>> confident_threshold(p, truth, case, 0.9), threshold_for_sensitivity(p, truth, 0.9)
    (0.04, 0.1)
    >>> confident_threshold(p[:20], truth[:20], case[:20], 0.9) is None  # twenty cases cannot bear it out
    True
    """
    lowest = conformal.Reference.of(probabilities, truth, groups).malignant
    missed = np.arange(len(lowest))
    allowed = np.flatnonzero(binom.cdf(missed, len(lowest), 1 - sensitivity) <= 1 - confidence)
    return float(lowest[allowed[-1]]) if len(allowed) else None


def threshold_for_sensitivity(probabilities: Floats, truth: Floats, sensitivity: float) -> float:
    """The highest threshold at which at least this share of positives is at or above it.

    Args:
        probabilities: shape (n,).
        truth: 0 or 1, shape (n,), with at least one 1.
        sensitivity: wanted share, above 0, at most 1.
    """
    positives = np.sort(np.asarray(probabilities)[np.asarray(truth) == 1])
    missed = int(np.floor((1 - sensitivity) * len(positives) + 1e-9))
    return float(positives[missed])


def _sigmoid(logits: Floats, targets: Floats, *, with_offset: bool) -> tuple[float, float]:
    """Slope and offset of the most likely sigmoid; the slope between 1/20 and 20."""
    z = np.asarray(logits, dtype=np.float64)

    def cost(parameters: Floats) -> float:
        scaled = np.exp(parameters[0]) * z + (parameters[1] if with_offset else 0)
        return float(np.mean(np.logaddexp(0, scaled) - scaled * targets))

    bounds = [(-np.log(20), np.log(20)), *([(-50.0, 50.0)] if with_offset else [])]
    best = minimize(cost, np.zeros(len(bounds)), bounds=bounds, method="L-BFGS-B").x
    return float(np.exp(best[0])), float(best[1]) if with_offset else 0.0

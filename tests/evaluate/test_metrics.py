"""Every metric equals scikit-learn's on weighted images, and says so when there is nothing to measure."""

import numpy as np
import pytest
from sklearn import metrics as reference

from melascope.evaluate.metrics import BINS, Confusion, Ranked, Reliability, Sample, brier

THRESHOLDS = (0.1, 0.3, 0.5)


def _sample(seed, images=160):
    """Images with many equal probabilities, as a small network or rounding gives."""
    rng = np.random.default_rng(seed)
    truth = rng.random(images) < 0.3
    probability = np.round(np.clip(rng.normal(0.3 + 0.2 * truth, 0.2), 0, 1), 1 + seed % 2)
    return Sample.of(truth, probability, rng.integers(60, size=images))


def _weights(sample, seed):
    return np.random.default_rng(seed).integers(0, 4, size=(7, len(sample.truth))).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_ranking_and_probabilities_equal_scikit_learn(seed):
    sample = _sample(seed)
    weights = _weights(sample, seed)
    ranked = Ranked.of(sample, weights)
    expected = {
        "roc_auc": (ranked.roc_auc(), reference.roc_auc_score),
        "average_precision": (ranked.average_precision(), reference.average_precision_score),
        "brier": (brier(sample, weights), reference.brier_score_loss),
    }
    for ours, theirs in expected.values():
        np.testing.assert_allclose(
            ours, [theirs(sample.truth, sample.probability, sample_weight=row) for row in weights], rtol=1e-12
        )


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_decisions_equal_scikit_learn(threshold):
    sample = _sample(1)
    weights = _weights(sample, 1)
    ours = Confusion.of(sample, weights, threshold)
    called = sample.probability >= threshold
    for i, row in enumerate(weights):
        words = {"y_true": sample.truth, "y_pred": called, "sample_weight": row}
        tn, fp, fn, tp = reference.confusion_matrix(**words).ravel()
        assert (ours.tp[i], ours.fp[i], ours.fn[i], ours.tn[i]) == (tp, fp, fn, tn)
        assert ours.accuracy[i] == pytest.approx(reference.accuracy_score(**words))
        assert ours.balanced_accuracy[i] == pytest.approx(reference.balanced_accuracy_score(**words))
        precision, recall, f1, _ = reference.precision_recall_fscore_support(**words)
        for side, seen in enumerate((ours.turned, ours)):
            assert seen.precision[i] == pytest.approx(precision[side])
            assert seen.sensitivity[i] == pytest.approx(recall[side])
            assert seen.f1[i] == pytest.approx(f1[side])


def test_a_probability_equal_to_the_threshold_is_called_positive():
    sample = Sample.of([True, False], [0.5, 0.2], [0, 1])
    assert Confusion.of(sample, sample.once, 0.5).tp[0] == 1


def test_calibration_error_equals_a_plain_loop():
    sample = _sample(3, images=400)
    weights = _weights(sample, 3)
    ours = Reliability.of(sample, weights).error()
    for got, row in zip(ours, weights, strict=True):
        expected = 0.0
        for i in range(BINS):
            inside = (sample.probability >= i / BINS) & (
                (sample.probability < (i + 1) / BINS) | (i == BINS - 1)
            )
            if row[inside].sum() > 0:
                gap = np.average(sample.truth[inside], weights=row[inside]) - np.average(
                    sample.probability[inside], weights=row[inside]
                )
                expected += row[inside].sum() / row.sum() * abs(gap)
        assert got == pytest.approx(expected)


def test_curves_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.4
    sample = Sample.of(truth, rng.normal(truth, 1.0), np.arange(300))
    ranked = Ranked.of(sample, sample.once)
    false, true, _ = reference.roc_curve(sample.truth, sample.probability, drop_intermediate=False)
    grid = np.linspace(0, 1, 51)
    np.testing.assert_allclose(ranked.sensitivity_at(grid)[0], np.interp(grid, false, true), atol=1e-12)
    precision, recall, _ = reference.precision_recall_curve(sample.truth, sample.probability)
    at = grid[1:]
    # scikit-learn's recall falls along the array: the last that still reaches is the highest threshold.
    expected = [precision[np.flatnonzero(recall >= r - 1e-12)[-1]] for r in at]
    np.testing.assert_allclose(ranked.precision_at(at)[0], expected)


@pytest.mark.parametrize("only", [True, False])
def test_one_class_leaves_what_needs_two_undefined(only):
    sample = Sample.of([only] * 5, np.linspace(0, 1, 5), range(5))
    ranked, seen = Ranked.of(sample, sample.once), Confusion.of(sample, sample.once, 0.5)
    two = (ranked.roc_auc(), ranked.average_precision(), seen.balanced_accuracy)
    assert all(np.isnan(value[0]) for value in two)
    assert np.isnan(seen.sensitivity[0]) == (not only)
    assert np.isnan(seen.specificity[0]) == only
    assert np.isnan(ranked.sensitivity_at(np.array([0.5]))).all()
    assert not np.isnan(brier(sample, sample.once)[0])


def test_nothing_called_positive_leaves_precision_undefined():
    sample = Sample.of([True, False], [0.1, 0.2], [0, 1])
    assert np.isnan(Confusion.of(sample, sample.once, 0.9).precision[0])

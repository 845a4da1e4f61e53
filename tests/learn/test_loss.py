"""The loss: balanced classes, missing labels, the diagnosis beside the targets."""

import numpy as np
import pytest
from scipy.special import expit

from melascope.learn import loss


def test_missing_labels_and_prevalence():
    targets = np.array([[1, 0], [0, np.nan], [0, 0], [0, 1]], dtype=np.float32)
    weights = loss.target_weights(targets, np.full(4, -1))
    np.testing.assert_allclose(weights[:, 0], [4 / 2, 4 / 6, 4 / 6, 4 / 6])
    no_family = np.zeros((4, 1), dtype=np.float32)
    cost = loss.BalancedCrossEntropy(targets, weights)
    goals = loss.loss_targets(targets, weights, no_family)
    logits = np.zeros((4, 3), dtype=np.float32)
    wild = logits.copy()
    wild[1, 1] = 50
    assert float(cost(goals, logits)) == pytest.approx(float(cost(goals, wild)))
    # The constant logit that costs least is the log-odds of the data, here of one in four.
    grid = np.linspace(-3, 3, 601, dtype=np.float32)
    costs = [float(cost(goals, np.tile(np.float32([z, 0, 0]), (4, 1)))) for z in grid]
    assert expit(grid[int(np.argmin(costs))]) == pytest.approx(0.25, abs=0.01)


def test_rare_diagnoses_weigh_more():
    """100 nevi, 400 keratoses: the few nevi get 28 % of what "not melanoma" weighs, not a fifth."""
    families = np.repeat([3, 4, 0], [100, 400, 100])
    truth = np.repeat(np.float32([0, 0, 1]), [100, 400, 100])[:, None].repeat(2, axis=1)
    weights = loss.target_weights(truth, families)[:, 1]
    assert weights[truth[:, 1] == 0].sum() == pytest.approx(weights[truth[:, 1] == 1].sum())
    assert weights[0] / weights[100] == pytest.approx(4 ** (1 / 3))  # the cube root of 400 / 100
    assert weights[:100].sum() / weights[:500].sum() == pytest.approx(1 / (1 + 4 ** (2 / 3)))
    one_hot = loss.family_weights(np.append(families, -1), 9)
    assert (one_hot[-1] == 0).all()
    assert one_hot[:-1].sum() == pytest.approx(600)
    assert one_hot[0, 3] / one_hot[100, 4] == pytest.approx(2)  # of the diagnosis itself, the square root


def test_the_diagnosis_is_learned():
    """Cross-entropy by hand: one benign image without weights but for its family."""
    cost = loss.BalancedCrossEntropy(np.float32([[0, 0], [1, 1]]), np.ones((2, 2), np.float32))
    goals = loss.loss_targets(np.float32([[0, 0]]), np.zeros((1, 2), np.float32), np.float32([[0, 2, 0]]))
    logits = np.float32([[9, -9, 1, 2, 3]])
    expected = -2 * loss.FAMILY_SHARE * (2 - np.log(np.exp([1, 2, 3]).sum()))
    assert float(cost(goals, logits)) == pytest.approx(expected, rel=1e-5)

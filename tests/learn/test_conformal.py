"""Conformal prediction sets: what they promise, kept on drawn cases, and what an answer makes of them."""

import numpy as np
import pytest
from scipy.special import expit

from melascope.learn.conformal import Reference
from melascope.model.decision import PredictionSets


def cases(n, rng):
    """Probabilities that are badly calibrated, which sets must not mind, and the truth."""
    truth = rng.random(n) < 0.4
    return expit(3 * (rng.normal(size=n) + 1.5 * truth) + 2), truth.astype(float)


def reference(p, truth):
    return Reference.of(p, truth, np.arange(len(p)).astype(object))


def test_wrong_exclusions_are_as_rare_as_promised():
    rng = np.random.default_rng(0)
    kept = {True: [], False: []}
    for _ in range(300):
        sets = reference(*cases(200, rng)).sets(0.9)
        p, truth = cases(500, rng)
        kept[True].append((p[truth == 1] >= sets.low).mean())
        kept[False].append((p[truth == 0] <= sets.high).mean())
    for shares in kept.values():
        # At least 0.9 in the mean, and by the theory less than 1 / (cases of the class + 1) above it.
        assert 0.9 - 3 * np.std(shares) / np.sqrt(300) <= np.mean(shares) <= 0.9 + 1 / 60


def test_an_answer_is_ruled_out_where_its_p_value_is_small():
    """By hand: of ten cases, itself included, at least three must fit no better for an answer to be held at 0.8."""
    malignant, benign = np.arange(1, 10) / 10, np.arange(1, 10) / 20
    made = reference(np.concatenate([malignant, benign]), np.repeat([1, 0], 9))
    sets = made.sets(0.8)
    assert (sets.low, sets.high) == (0.2, 0.4)
    assert (sets.malignant, sets.benign) == (9, 9)
    assert made.doubt(np.array([0.05, 0.2, 0.3, 0.4, 0.45, 0.9])).tolist() == pytest.approx(
        [0.1, 0.3, 0.4, 0.3, 0.2, 0.1]
    )


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9, 0.95])
def test_doubt_agrees_with_sets_of_every_coverage(coverage):
    made = reference(*cases(150, np.random.default_rng(1)))
    sets = made.sets(coverage)
    p = np.random.default_rng(2).random(2000).round(6)
    if sets.low <= sets.high:
        assert ((made.doubt(p) > 1 - coverage) == ((p >= sets.low) & (p <= sets.high))).all()
    else:
        assert not (made.doubt(p) > 1 - coverage).any()


def test_too_few_cases_rule_nothing_out():
    p, truth = np.linspace(0.01, 0.99, 36), np.tile([1.0, 0.0], 18)
    sets = reference(p, truth).sets(0.95)
    assert (sets.low, sets.high) == (0, 1)
    groups = np.repeat(np.arange(12).astype(object), 3)
    made = Reference.of(p, np.repeat([1.0, 0.0], 18), groups)
    assert made.malignant.tolist() == pytest.approx(p[:18:3])  # the least of each case
    assert made.benign.tolist() == pytest.approx(p[20::3])  # the greatest


def test_a_decision_is_weak_unless_its_answer_is_the_only_one_left():
    sets = PredictionSets(0.95, 0.2, 0.6, 100, 100)
    p = np.array([0.1, 0.1, 0.2, 0.2, 0.5, 0.6, 0.61, 0.61, 0.6000004])
    called = np.array([False, True, False, True, True, True, True, False, True])
    assert sets.weak(p, called).tolist() == [False, True, True, True, True, True, False, True, True]
    apart = PredictionSets(0.5, 0.6, 0.4, 100, 100)  # between, both are ruled out: nothing fits
    assert apart.weak(np.array([0.3, 0.5, 0.7]), np.array([False, True, True])).tolist() == [
        False,
        True,
        False,
    ]

"""Intervals hold what they promise, on data whose truth is known."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from melascope import intervals
from melascope.evaluate import calibration_error
from melascope.evaluate.metrics import Confusion, Ranked, Reliability, Sample
from melascope.intervals import Figure


@pytest.mark.parametrize(
    ("figure", "text", "share"),
    [
        (
            Figure(0.9231, 0.9108, 0.9344, 1982, 120, "why", "pivotal", 0.01),
            "0.923 (0.911 to 0.934)",
            "92.3\u00a0% (91.1 to 93.4)",
        ),
        (Figure(-0.05, -0.1, 0.0004), "-0.050 (-0.100 to 0.000)", "-5.0\u00a0% (-10.0 to 0.0)"),
        (Figure(1.0, n=0), "1.000 (no interval)", "100.0\u00a0% (no interval)"),
        (Figure(None, n=0, reason="no melanoma"), "not defined", "not defined"),
    ],
)
def test_a_figure_is_shown_and_kept(figure, text, share):
    """As text, as a share, and in JSON, from which it is read again."""
    assert str(figure) == text
    assert f"{figure:.1%}" == share
    document = json.loads(json.dumps(figure.document()))
    assert {"value", "low", "high"} <= set(document)
    assert None not in [value for key, value in document.items() if key not in ("value", "low", "high")]
    assert Figure.of(document) == figure
    assert Figure.of({**document, "name": "another key"}) == figure


def test_weights_draw_whole_groups():
    group = np.array([0, 0, 0, 1, 2, 2])
    drawn = np.concatenate(list(intervals.weights(group, resamples=500, seed=1)))
    assert drawn.shape == (500, 6)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 4] == drawn[:, 5]).all()
    assert (drawn[:, [0, 3, 4]].sum(axis=1) == 3).all()
    assert drawn.mean() == pytest.approx(1, abs=0.1)


def test_draws_depend_on_the_seed_and_not_on_the_chunk():
    group = np.repeat(np.arange(40), 2)
    whole = np.concatenate(list(intervals.weights(group, 50, seed=3)))
    parts = np.concatenate(list(intervals.weights(group, 50, seed=3, chunk=7 * 80)))
    np.testing.assert_array_equal(whole, parts)
    assert not np.array_equal(whole, np.concatenate(list(intervals.weights(group, 50, seed=4))))


def _clustered(rng):
    """100 lesions of 1 to 12 images that share most of their score: truth ROC-AUC 0.75."""
    size = rng.integers(1, 13, size=100)
    group = np.repeat(np.arange(100), size)
    truth = (rng.random(100) < 0.5)[group]
    shared = rng.normal(0, np.sqrt(0.9), 100)[group]
    score = truth * 0.9539 + shared + rng.normal(0, np.sqrt(0.1), len(group))  # sqrt(2) * probit(0.75)
    return Sample.of(truth, score, group)


def _covers(sample, group, seed):
    drawn = intervals.draws(lambda w: {"auc": Ranked.of(sample, w).roc_auc()}, group, 200, seed)
    low, high, _ = intervals.interval(drawn["auc"])
    assert low is not None
    assert high is not None
    return low <= 0.75 <= high


def test_resampling_groups_covers_the_truth():
    rng = np.random.default_rng(0)
    samples = [_clustered(rng) for _ in range(200)]
    by_group = np.mean([_covers(s, s.group, i) for i, s in enumerate(samples)])
    by_image = np.mean([_covers(s, np.arange(len(s.truth)), i) for i, s in enumerate(samples)])
    assert 0.90 <= by_group <= 0.99
    assert by_image < 0.70


def test_interval_is_refused_rather_than_made_up():
    lucky = np.where(np.arange(100) < 95, np.random.default_rng(0).random(100), np.nan)
    assert intervals.interval(lucky).low is None
    assert "5 of 100" in (intervals.interval(lucky).reason or "")
    same = intervals.interval(np.full(100, 0.8))
    assert same.low is None
    assert "too few groups" in (same.reason or "")
    assert intervals.interval(np.full(100, np.nan)).low is None


def test_a_share_of_one_gets_the_exact_interval():
    # Clopper and Pearson: 10 of 10, lower end 0.6915; by scipy.stats.binomtest(10, 10).proportion_ci().
    for k in (0, 10):
        low, high, _ = intervals.exact(k / 10, 10)
        expected = binomtest(k, 10).proportion_ci(0.95, method="exact")
        assert (low, high) == pytest.approx((expected.low, expected.high))


def _calibration_interval(n, rng, bent):
    probability = rng.beta(1, 2.5, n)
    sample = Sample.of(rng.random(n) < probability**bent, probability, np.arange(n))

    def statistics(weights):
        return {"error": Reliability.of(sample, weights).error()}

    value = float(statistics(sample.once)["error"][0])
    drawn = intervals.draws(statistics, sample.group, 200, 0)["error"]
    return calibration_error.interval(value, drawn, calibration_error.by_chance(sample, 200, 0))


@pytest.mark.parametrize(("bent", "truth"), [(1.0, 0.0), (1.6, 0.1157)])
def test_calibration_error_covers_the_truth(bent, truth):
    # 0.1157: the error of two million images. Percentile intervals cover 0 never.
    rng = np.random.default_rng(1)
    results = [_calibration_interval(1000, rng, bent) for _ in range(60)]
    covered = [i.low is not None and i.high is not None and i.low <= truth <= i.high for i in results]
    assert np.mean(covered) >= 0.85


def test_interval_of_independent_images_agrees_with_the_exact_one():
    truth = np.ones(400, dtype=bool)
    sample = Sample.of(truth, np.where(np.arange(400) < 360, 0.9, 0.1), np.arange(400))
    drawn = intervals.draws(lambda w: {"s": Confusion.of(sample, w, 0.5).sensitivity}, sample.group)
    low, high, _ = intervals.interval(drawn["s"])
    expected = binomtest(360, 400).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.006)

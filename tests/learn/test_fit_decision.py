"""Calibration and operating points: against known truth, and against scikit-learn and MAPIE."""

import numpy as np
import pytest
from mapie.risk_control import BinaryClassificationController
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from helpers.datasets import card
from melascope.errors import DataError, ModelError
from melascope.learn import fit_decision
from melascope.model.decision import Calibration


def sample(n, seed=0):
    """Honest logits and the truth they speak of."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=n) * 2 - 1
    return honest, (rng.uniform(size=n) < expit(honest)).astype(float)


def apart(n):
    return np.arange(n).astype(object)


def test_temperature_undoes_overconfidence():
    honest, truth = sample(20_000)
    fitted = fit_decision.temperature(honest * 3, truth)
    assert fitted.slope == pytest.approx(1 / 3, rel=0.05)
    assert fitted.offset == 0


def test_platt_is_that_of_scikit_learn():
    honest, truth = sample(3_000)
    logits = (2 * honest + 1).reshape(-1, 1)
    theirs = LogisticRegression().fit(logits, truth)
    theirs = CalibratedClassifierCV(FrozenEstimator(theirs), method="sigmoid", ensemble=False).fit(
        logits, truth
    )
    ours = fit_decision.platt(logits[:, 0], truth)
    np.testing.assert_allclose(ours(logits[:, 0]), theirs.predict_proba(logits)[:, 1], atol=2e-3)
    assert (ours.slope, ours.offset) == (pytest.approx(0.5, rel=0.1), pytest.approx(-0.5, abs=0.1))


def test_isotonic_equals_scikit_learn_and_is_never_certain():
    honest, truth = sample(500)
    ours = fit_decision.isotonic(honest, truth)
    grid = np.linspace(-15, 15, 401)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(honest, truth).predict(grid)
    np.testing.assert_allclose(ours(grid), np.clip(theirs, 1 / 502, 501 / 502), atol=1e-12)
    assert (np.diff(ours(grid)) >= 0).all()


@pytest.mark.parametrize(
    ("distort", "expected"),
    [
        (lambda z: 3 * z, "temperature"),
        (lambda z: 3 * z + 2, "platt"),
        (lambda z: np.sign(z) * z**4, "isotonic"),
    ],
)
def test_the_method_that_fits_is_chosen(distort, expected):
    honest, truth = sample(4_000)
    chosen, losses = fit_decision.calibrate(distort(honest), truth, apart(4_000))
    assert chosen.method == expected
    assert set(losses) == set(fit_decision.METHODS)


def test_on_few_images_the_simplest_is_kept():
    honest, truth = sample(60)
    assert fit_decision.calibrate(honest * 2, truth, apart(60))[0].method == "temperature"
    assert fit_decision.calibrate(honest * 2, truth, np.where(truth, "a", "b").astype(object))[1] == {}


@pytest.mark.parametrize("n", [1, 7, 20, 40, 1000])
def test_the_highest_threshold_of_a_sensitivity(n):
    rng = np.random.default_rng(n)
    p, truth = rng.uniform(size=3 * n), np.repeat([1.0, 0.0, 0.0], n)
    threshold = fit_decision.threshold_for_sensitivity(p, truth, 0.95)
    positives = p[truth == 1]
    assert np.mean(positives >= threshold) >= 0.95
    assert np.mean(positives > threshold) < 0.95


def test_the_confident_threshold_holds_as_often_as_it_says():
    """Of 2,000 samples, whose true sensitivity at a threshold t is 1 - t, at most one in twenty may fall short."""
    rng = np.random.default_rng(0)
    failures = {"confident": 0, "reached": 0}
    for _ in range(2_000):
        p = rng.uniform(size=150)
        truth = np.ones(150)
        failures["confident"] += fit_decision.confident_threshold(p, truth, apart(150), 0.9) > 0.1
        failures["reached"] += fit_decision.threshold_for_sensitivity(p, truth, 0.9) > 0.1
    assert 0.02 < failures["confident"] / 2_000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2_000)
    assert (
        failures["reached"] / 2_000 > 0.4
    )  # what merely reached it on a sample holds about every second time


def test_a_higher_sensitivity_never_misses_more():
    chances, truth = np.arange(1, 28) / 100, np.ones(27)  # enough to assure 0.82 and 0.89, and no more
    points = fit_decision.fit_operating_points(chances, truth, apart(27))
    assert [point.held for point in points] == [True, True, False, False]
    assert [point.threshold for point in points] == [0.02, 0.01, 0.01, 0.01]


def test_the_exact_bound_is_no_weaker_than_that_of_mapie():
    honest, truth = sample(3_000, seed=4)
    p = expit(honest)
    grid = np.arange(0, 1, 0.005)
    theirs = BinaryClassificationController(
        lambda x: np.stack([1 - x[:, 0], x[:, 0]], axis=1), "recall", 0.95, 0.95, list_predict_params=grid
    ).calibrate(p[:, None], truth.astype(int))
    ours = fit_decision.confident_threshold(p, truth, apart(3_000), 0.95)
    reached = fit_decision.threshold_for_sensitivity(p, truth, 0.95)
    assert theirs.best_predict_param <= ours < reached
    assert ours - theirs.best_predict_param < 0.02


def test_images_of_one_case_are_no_further_evidence():
    rng = np.random.default_rng(0)
    p, truth = rng.uniform(size=80), np.ones(80)
    once = fit_decision.confident_threshold(p, truth, apart(80), 0.95)
    assert once is not None
    repeated = np.repeat(p, 3) + rng.uniform(0, 0.1, 240) * np.tile([0, 1, 1], 80)
    assert fit_decision.confident_threshold(repeated, np.ones(240), np.repeat(apart(80), 3), 0.95) == once
    assert fit_decision.confident_threshold(p[:50], truth[:50], apart(50), 0.95) is None  # 0.95 ** 50 > 0.05


def test_a_card_gets_calibration_and_points():
    z, y = sample(900)
    logits = np.stack([z, z * 2 + 3], axis=1)  # the second is far too sure of melanoma
    truth = np.stack([y, y * (np.arange(900) % 2)], axis=1).astype(np.float32)
    made = fit_decision.fit(card(), logits, truth, apart(900))
    chance = made.probability(logits)
    assert (chance[:, 1] <= chance[:, 0]).all()  # a melanoma is malignant
    for i, points in enumerate(made.operating_points.values()):
        thresholds = [point.threshold for point in points]
        assert thresholds == sorted(thresholds, reverse=True)
        for point in points:
            caught = chance[truth[:, i] == 1, i] >= point.threshold
            assert caught.mean() > point.sensitivity
            assert point.held
    assert made.at(0.82).threshold["malignant"] > made.at(None).threshold["malignant"]
    with pytest.raises(
        ModelError, match=r"has no operating point for a sensitivity of 0\.5; it has 0\.82, 0\.89"
    ):
        made.at(0.5)
    few = fit_decision.fit(card(), logits[:40], truth[:40], apart(40))
    assert not few.points["melanoma"].held
    with pytest.raises(DataError, match="malignant and benign"):
        fit_decision.fit(card(), logits, np.ones_like(truth), apart(900))


def test_contradicting_targets_meet():
    """Odds of 1 to 4 for malignant, 4 to 1 for melanoma, which is malignant: the geometric mean of 0.2 and 0.8."""
    made = card(calibration={name: Calibration("temperature") for name in ("malignant", "melanoma")})
    contradicting, fair = made.probability(np.log([[1 / 4, 4], [4, 1 / 4]]))
    assert contradicting == pytest.approx([0.4, 0.4])
    assert fair == pytest.approx([0.8, 0.2])
    alone = card(calibration={"malignant": Calibration("temperature")})
    np.testing.assert_allclose(alone.probability(np.log([[1 / 4, 4]])), [[0.2, np.nan]])


def test_a_card_comes_back_from_json_as_it_was(tmp_path):
    z, y = sample(900)
    logits, truth = np.stack([z, z], axis=1), np.stack([y, y], axis=1).astype(np.float32)
    made = fit_decision.fit(card(), logits, truth, apart(900))
    stepped = {name: fit_decision.isotonic(z, y) for name in ("malignant", "melanoma")}
    made = type(made)(**{**vars(made), "calibration": stepped})
    made.write(tmp_path / "card.json")
    again = type(made).read(tmp_path / "card.json")
    np.testing.assert_array_equal(again.probability(logits), made.probability(logits))
    assert again.points == made.points


@pytest.mark.parametrize(
    "document",
    [
        {"method": "platt", "slope": -1.0, "offset": 0.0},
        {"method": "platt", "slope": 1.0, "offset": float("nan")},
        {"method": "isotonic", "slope": 1.0, "offset": 0.0, "knots": [[0, 0.5], [1, 0.4]]},
        {"method": "isotonic", "slope": 1.0, "offset": 0.0, "knots": [[0, 0.5], [0, 0.6]]},
        {"method": "isotonic", "slope": 1.0, "offset": 0.0, "knots": [[0, 0.5], [1, 1.6]]},
    ],
)
def test_a_calibration_that_falls_or_is_no_number_is_refused(document):
    with pytest.raises(ValueError, match="calibration"):
        Calibration.of(document)

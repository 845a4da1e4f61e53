"""Figures are what metrics.json holds; what one model gains over another on the same images."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers.datasets import DATA_HASH, card, predictions
from melascope.evaluate.caveats import Origin
from melascope.evaluate.evaluation import assess
from melascope.evaluate.figure import Question, mean, roc_auc_gain, sample_of
from melascope.evaluate.metrics import Ranked
from melascope.intervals import Figure


def figures_in(document):
    """All figures of a document, at any depth."""
    if isinstance(document, dict) and {"value", "low", "high"} <= set(document):
        yield document
    elif isinstance(document, dict | list):
        for item in document.values() if isinstance(document, dict) else document:
            yield from figures_in(item)


def test_figures_are_those_of_metrics_json():
    table = predictions()
    metrics = assess(table, card(), Origin("data", DATA_HASH, "test"), resamples=200, seed=3)
    held = list(figures_in(json.loads(json.dumps(metrics))))
    assert len(held) > 100
    for document in held:
        assert Figure.of(document).document() == document
    sample = sample_of(table, "malignant")
    question = Question("malignant", 0.2, resamples=200, seed=3)
    measured = question.measured(sample, lambda weights: {"roc_auc": Ranked.of(sample, weights).roc_auc()})
    assert measured.figure("roc_auc").document() == metrics["targets"]["malignant"]["roc_auc"]


def test_the_mean_of_nothing_is_not_defined():
    table = predictions()
    assert mean(np.array([]), table["group"][:0], 0).reason == "no such image"
    share = mean(table["malignant"].to_numpy(float), table["group"], 0)
    assert share.value == pytest.approx(table["malignant"].mean())
    assert share.low < share.value < share.high


def test_the_gain_is_the_difference_of_both_roc_aucs():
    first, second = predictions(seed=0), predictions(seed=0)
    second["p_malignant"] = np.random.default_rng(1).permutation(second["p_malignant"])
    expected = [
        roc_auc_score(table["malignant"].astype(bool), table["p_malignant"]) for table in (first, second)
    ]
    gain = roc_auc_gain(first, second, "malignant")
    assert gain.value == pytest.approx(expected[1] - expected[0])
    assert gain.low < gain.value < gain.high < 0
    turned = roc_auc_gain(second, first, "malignant")
    assert (turned.value, turned.low) == pytest.approx((-gain.value, -gain.high))


def test_what_is_hard_for_both_does_not_widen_the_interval():
    first = predictions()
    second = first.assign(p_malignant=first["p_malignant"] ** 1.5)  # another scale, the same ranking
    gain = roc_auc_gain(first, second, "malignant")
    assert gain.value == 0
    assert gain.low is None
    assert "same value" in gain.reason


def test_images_that_one_of_them_could_not_read_are_left_out():
    first, second = predictions(), predictions()
    second.loc[:49, "p_malignant"] = np.nan
    assert roc_auc_gain(first, second, "malignant").n == len(first) - 50


def test_different_images_are_not_compared():
    with pytest.raises(ValueError, match="different images"):
        roc_auc_gain(predictions(), predictions().iloc[::-1], "malignant")

"""What one model gains over another on the same images."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers.datasets import predictions
from melascope.evaluate.figure import roc_auc_gain


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

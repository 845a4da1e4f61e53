"""The linear head on the frozen backbone."""

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from helpers.datasets import make_data
from melascope.learn import backbones, head, network, training
from melascope.learn.backend import keras
from melascope.learn.settings import Settings


def test_scaling_of_features_is_folded_into_the_weights():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 5)) * [1, 10, 0.1, 3, 2] + [5, -3, 0, 1, 2]).astype(np.float32)
    y = (x[:, 1] / 10 + rng.normal(size=400) > 0).astype(np.float32)[:, None]
    y[::7] = np.nan
    kernel, bias = head.fit(x, y, x, y, np.array([True]))
    known = ~np.isnan(y[:, 0])
    z = (x - x[known].mean(0)) / x[known].std(0)
    expected = LogisticRegression(C=1.0).fit(z[known], y[known, 0]).decision_function(z)
    assert np.corrcoef(expected, (x @ kernel + bias)[:, 0])[0, 1] > 0.98


def test_the_base_is_logistic_regression_on_frozen_features(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    keras.utils.set_random_seed(3)
    weights = tmp_path / "backbone.weights.h5"
    inputs = keras.Input((32, 32, 3))
    backbones.make("MobileNetV2", inputs).save_weights(weights)
    settings = Settings("MobileNetV2", str(weights), 32, epochs=0, batch=8)
    assert training.train_networks(data, run, settings) == [run / "base.keras"]
    assert not (run / "model.keras").exists()
    base = keras.saving.load_model(run / "base.keras", compile=False)
    pixels = np.random.default_rng(1).integers(0, 255, (5, 32, 32, 3)).astype(np.float32)
    features = network.truncated_at(base, "pool").predict(pixels, verbose=0)
    kernel, bias = base.get_layer("logits").get_weights()
    np.testing.assert_allclose(base.predict(pixels, verbose=0), expit(features @ kernel + bias), atol=1e-5)

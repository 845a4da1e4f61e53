"""Fine-tuning: the layers that it changes, and its running mean."""

import numpy as np
import pytest

from helpers.datasets import make_data
from melascope.learn import finetune, network, training
from melascope.learn.backend import keras
from melascope.learn.settings import Settings


@pytest.mark.slow
def test_only_the_upper_layers_are_fine_tuned(tmp_path):
    data = make_data(tmp_path / "data")
    settings = Settings("MobileNetV2", None, 32, epochs=1, batch=8, unfrozen=0.5)
    training.train_networks(data, tmp_path / "run", settings)
    keras.utils.set_random_seed(settings.seed)
    start = network.build("MobileNetV2", 32, None, settings.dropout)
    trained = network.load(tmp_path / "run" / "model.keras")
    changed = [
        any(
            (a != b).any()
            for a, b in zip(start.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True)
        )
        for layer in network.backbone_layers(trained)
    ]
    half = round(0.5 * len(changed))
    assert not any(changed[:half])
    assert sum(changed[half:]) > 20


def test_the_running_mean_replaces_the_weights_after_each_epoch():
    """Beside the same optimiser without a mean: of its four steps, with half the weight on the last."""
    settings = Settings(weights=None, rate=0.1, epochs=5, weight_decay=0.0)
    weights = {}
    for use_ema in (False, True):
        net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        net.set_weights([np.ones((1, 1), np.float32)])
        optimizer = finetune.make_optimizer(settings, steps=4)
        optimizer.use_ema = use_ema
        net.compile(optimizer, "mse", jit_compile=False)
        steps = []
        for _ in range(4):
            net.train_on_batch(np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32))
            steps.append(net.get_weights()[0].item())
        weights[use_ema] = steps
    assert weights[True][:3] == weights[False][:3]
    mean = weights[False][0]
    for weight in weights[False][1:]:
        mean = 0.5 * mean + 0.5 * weight
    assert weights[True][3] == pytest.approx(mean, rel=1e-5)
    assert abs(weights[True][3] - weights[False][3]) > 1e-3

"""The network: its scaling, its weights, and clear errors where they do not fit."""

import numpy as np
import pytest

from melascope.errors import ModelError
from melascope.learn import network
from melascope.learn.backend import keras


@pytest.mark.parametrize("backbone", ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV2"])
def test_pixels_are_scaled_inside(backbone):
    """A network that wants 0..255 and is fed 0..1 answers the same for every image, silently."""
    keras.utils.set_random_seed(0)
    net = network.build(backbone, 32, None, 0.0)
    assert all(not isinstance(layer, keras.Model) for layer in net.layers)  # one flat graph
    scaled = [layer for layer in net.layers if isinstance(layer, keras.layers.Rescaling)]
    assert scaled
    # What leaves the network's own scaling is within what such weights were trained on.
    last = keras.Model(net.input, scaled[-1].output)
    white = np.asarray(last(np.full((1, 32, 32, 3), 255, dtype=np.float32)))
    assert 0.9 < abs(white).max() < 3


def test_unfit_backbones_and_weights(tmp_path):
    for name in ("EfficientNetB99", "Model", "VGG16", "os"):
        with pytest.raises(ModelError, match="choose from"):
            network.build(name, 64, None, 0.0)
    with pytest.raises(ModelError, match="no such weights file"):
        network.build("MobileNetV2", 64, str(tmp_path / "none.h5"), 0.0)
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"not weights")
    with pytest.raises(ModelError, match="do not fit"):
        network.build("MobileNetV2", 64, str(broken), 0.0)


def test_imagenet_weights_give_keras_features(shared_data):
    """Our graph with the weights in ../shared equals keras.applications' own."""
    weights = shared_data.parent / "weights" / "mobilenetv2_imagenet_notop_folded.weights.h5"
    own = network.truncated_at(network.build("MobileNetV2", 96, str(weights), 0.2), "pool")
    plain = keras.applications.MobileNetV2(
        include_top=False, weights=None, pooling="avg", input_shape=(96, 96, 3)
    )
    plain.load_weights(weights)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3)).astype(np.float32)
    expected = plain.predict(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()), verbose=0)
    np.testing.assert_allclose(own.predict(pixels, verbose=0), expected, atol=1e-4)

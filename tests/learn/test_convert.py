"""Conversion: the ONNX file gives what Keras gives, its map is Grad-CAM, and other files are one clear error."""

import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from helpers import models
from melascope.errors import ModelError
from melascope.explain.cam import heat_map
from melascope.files import sha256
from melascope.images import load
from melascope.infer.predictor import Predictor
from melascope.learn import backbones, convert, network
from melascope.learn.backend import keras
from melascope.model import onnx_file
from melascope.model.decision import Calibration


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A backbone of `keras.applications` as `train` saves it, its batch normalisation fitted to noise.

    Without that, random weights let the signal fade to nothing, and everything would be equal.
    """
    path = tmp_path_factory.mktemp("mobilenet") / "model.keras"
    keras.utils.set_random_seed(0)
    net = network.build("MobileNetV2", 32, None, 0.2)
    head = net.get_layer("logits")
    head.set_weights([np.random.default_rng(0).normal(0, 0.1, head.kernel.shape), np.array([0.1, -0.2])])
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    net(np.random.default_rng(1).uniform(0, 255, (16, 32, 32, 3)).astype(np.float32), training=True)
    net.save(path)
    convert.convert(path, path.with_suffix(".onnx"))
    return path


@pytest.mark.slow
def test_the_file_equals_keras_for_any_batch(mobilenet):
    session = onnxruntime.InferenceSession(mobilenet.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert [value.name for value in session.get_outputs()] == ["logits", "cam", "views"]
    assert session.get_modelmeta().custom_metadata_map["keras_sha256"] == sha256(mobilenet)
    net = keras.saving.load_model(mobilenet, compile=False)
    for batch in (1, 7, 32):
        pixels = np.random.default_rng(batch).uniform(0, 255, (batch, 32, 32, 3)).astype(np.float32)
        logits, cam, views = session.run(["logits", "cam", "views"], {"image": pixels})
        mean, contrast, spread = np.split(views, 3, axis=1)
        by_keras = np.split(network.gate_features(net).predict(pixels, verbose=0), 3, axis=1)
        np.testing.assert_allclose(mean, by_keras[0], atol=1e-4)
        np.testing.assert_allclose(contrast, by_keras[1], atol=1e-4)
        # Squared: of a channel that hardly varies, the spread is a root of what float32 leaves of a difference.
        np.testing.assert_allclose(spread**2, by_keras[2] ** 2, atol=1e-4)
        expected = net.predict(pixels, verbose=0)
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-4)
        assert expected.std() > 0.01 or batch == 1  # not one answer to everything
        assert cam.shape == (batch, 2, 1, 1)
    assert sorted(path.name for path in mobilenet.parent.iterdir()) == ["model.keras", "model.onnx"]


def test_gate_features_are_mean_centre_and_spread(tiny_model):
    session = onnxruntime.InferenceSession(tiny_model.with_suffix(".onnx"))
    net = keras.saving.load_model(tiny_model, compile=False)
    stage = next(layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)).output
    pixels = np.random.default_rng(5).uniform(0, 255, (3, *net.input.shape[1:])).astype(np.float32)
    seen = keras.Model(net.input, stage).predict(pixels, verbose=0)
    assert seen.shape == (3, 11, 11, 8)
    mean = seen.mean(axis=(1, 2))
    centre = seen[:, 3:8, 3:8].mean(axis=(1, 2)) - mean
    expected = np.hstack([mean, centre, seen.std(axis=(1, 2))])
    np.testing.assert_allclose(session.run(["views"], {"image": pixels})[0], expected, atol=1e-4)


@pytest.mark.parametrize("target", [0, 1])
def test_the_activation_map_equals_autograd_grad_cam(tiny_model, target):
    """Selvaraju et al. 2017, computed by the book: gradients averaged over places weigh the feature maps."""
    session = onnxruntime.InferenceSession(tiny_model.with_suffix(".onnx"))
    net = keras.saving.load_model(tiny_model, compile=False)
    onnx_file = keras.Model(net.input, [net.get_layer("pool").input, net.get_layer("logits").output])
    shown = 0
    for seed in range(8):
        pixels = models.lesion(seed, models.SIZE, models.SIZE)[None].astype(np.float32)
        features, logits = onnx_file(torch.tensor(pixels))
        gradient = torch.autograd.grad(logits[0, target], features)[0]
        alpha = gradient.mean(dim=(1, 2), keepdim=True)
        expected = torch.relu((alpha * features).sum(-1))[0].detach().numpy()
        ours = np.maximum(session.run(["cam"], {"image": pixels})[0][0, target], 0)
        if expected.max() == 0:
            assert ours.max() == 0
            continue
        shown += 1
        np.testing.assert_allclose(ours / ours.max(), expected / expected.max(), atol=1e-4)
    assert shown > 3


def test_the_activation_map_by_hand(tmp_path):
    """Two feature maps, red and green brightness; the head weighs red and not green."""
    image = keras.Input((4, 4, 3), name="anything")
    feature = keras.layers.Conv2D(2, 2, strides=2, use_bias=False, name="features")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(feature(image))
    logits = keras.layers.Dense(2, name="logits")
    net = keras.Model(image, keras.layers.Activation("sigmoid", name="probability")(logits(pooled)))
    kernel = np.zeros((2, 2, 3, 2), dtype=np.float32)
    kernel[:, :, 0, 0] = kernel[:, :, 1, 1] = 1 / 4
    feature.set_weights([kernel])
    logits.set_weights([np.array([[2, 0], [-1, 1]], dtype=np.float32), np.array([5, 7], dtype=np.float32)])
    net.save(tmp_path / "hand.keras")
    convert.convert(tmp_path / "hand.keras", tmp_path / "hand.onnx")
    models.write_card(tmp_path / "hand.json", input_size=4)
    red, green = [[200, 0], [100, 0]], [[0, 80], [100, 0]]
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.kron(red, np.ones((2, 2))), np.kron(green, np.ones((2, 2)))
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    answer = next(Predictor.load(tmp_path / "hand").predict([str(tmp_path / "picture.png")]))
    np.testing.assert_allclose(answer.heat[0], [[400, -80], [100, 0]], atol=1e-3)
    np.testing.assert_allclose(answer.heat[1], green, atol=1e-3)
    np.testing.assert_allclose(heat_map(answer.heat[0], 2), [[1, 0], [0.25, 0]], atol=1e-6)
    assert answer.malignant == pytest.approx(1 / (1 + np.exp(-(2 * 75 - 45 + 5) / 1.5)))


@pytest.mark.parametrize(
    "unfit",
    [
        lambda: models.build(pooled=keras.layers.Dense(16, activation="relu")),
        lambda: models.build(pooled=keras.layers.Dense(5)),
        lambda: models.build(activation="sigmoid"),
        lambda: keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Flatten(name="pool"),
                keras.layers.Dense(2, name="logits"),
            ]
        ),
    ],
    ids=["hidden layer", "narrow hidden layer", "head with sigmoid", "no pooling"],
)
def test_a_head_that_has_no_activation_map_is_refused(unfit, tmp_path):
    unfit().save(tmp_path / "unfit.keras")
    with pytest.raises(ModelError, match=r"unfit\.keras: needs global average pooling and right on it"):
        convert.convert(tmp_path / "unfit.keras", tmp_path / "unfit.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["unfit.keras"]


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*backbones.EXAMPLES, "MobileNetV3Small", "Xception", "ResNet50V2", "ConvNeXtTiny"]
)
def test_every_family_is_converted(name, tmp_path):
    """`convert` itself compares with Keras; random batch statistics keep the signal alive and show wrong folding."""
    net = network.build(name, 64, None, 0.2)
    rng = np.random.default_rng(0)
    for layer in [*net.layers, net.get_layer("logits")]:
        if isinstance(layer, keras.layers.BatchNormalization) or layer.name == "logits":
            layer.set_weights([w + rng.uniform(0, 0.3, w.shape) for w in layer.get_weights()])
    net.save(tmp_path / "net.keras")
    convert.convert(tmp_path / "net.keras", tmp_path / "net.onnx")
    content = onnx_file.inspect((tmp_path / "net.onnx").read_bytes(), "net.onnx")
    assert content.operations["Conv"] > 20


@pytest.mark.slow
def test_batch_normalisation_is_folded_away(mobilenet):
    """53 convolutions, 35 activations and 10 sums are all that MobileNetV2 does; one more maps, one sum scales.

    The features of the gate are four operations for each of nine stages, and twenty for all.
    """
    operations = onnx_file.inspect(mobilenet.with_suffix(".onnx").read_bytes(), "x").operations
    assert operations["Conv"] == 52 + 1
    assert operations["Clip"] == 35
    assert operations.total() < 120 + 9 * 4 + 20


@pytest.mark.slow
def test_the_predictor_equals_keras_on_500_real_images(shared_data, tmp_path):
    """ImageNet weights with a head of random weights, so that answers differ; maps against autograd on some."""
    keras.utils.set_random_seed(0)
    weights = shared_data.parent / "weights" / "mobilenetv2_imagenet_notop_folded.weights.h5"
    net = network.build("MobileNetV2", 160, str(weights), 0.2)
    kernel = np.random.default_rng(0).normal(0, 0.05, (1280, 2))
    net.get_layer("logits").set_weights([kernel, np.zeros(2)])
    net.save(tmp_path / "real.keras")
    models.write_card(
        tmp_path / "real.keras",
        input_size=160,
        calibration=dict.fromkeys(("malignant", "melanoma"), Calibration("temperature")),
    )
    archive = shared_data / "ISIC2018_Task3_Training_Input.zip"
    with zipfile.ZipFile(archive) as source:
        names = [name for name in source.namelist() if name.endswith(".jpg")][::11][:500]
    locators = [f"{archive}::{name}" for name in names]
    convert.convert(tmp_path / "real.keras", tmp_path / "real.onnx")
    answers = list(Predictor.load(tmp_path / "real").predict(locators))
    pixels = np.stack([load(locator, 160) for locator in locators]).astype(np.float32)
    expected = net.predict(pixels, verbose=0)
    against = expected[:, 1] > expected[:, 0]  # a melanoma is malignant: both meet
    expected[against] = np.sqrt(expected[against].prod(axis=1, keepdims=True))
    ours = np.array([[answer.malignant, answer.melanoma] for answer in answers])
    assert len(ours) == 500
    assert expected.std(axis=0).min() > 0.05
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    graph_of_features = keras.Model(net.input, [net.get_layer("pool").input, net.get_layer("logits").output])
    for answer, image in list(zip(answers, pixels, strict=True))[:20]:
        features, logits = graph_of_features(torch.tensor(image[None]))
        for target in range(2):
            gradient = torch.autograd.grad(logits[0, target], features, retain_graph=True)[0]
            truth = (
                torch.relu((gradient.mean(dim=(1, 2), keepdim=True) * features).sum(-1))[0].detach().numpy()
            )
            heat = np.maximum(answer.heat[target], 0)
            assert np.ptp(truth) > 0
            np.testing.assert_allclose(heat / heat.max(), truth / truth.max(), atol=1e-4)

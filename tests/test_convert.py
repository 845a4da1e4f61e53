"""Conversion: the ONNX file says what Keras says, its map is Grad-CAM, and what is no model is one line."""

import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import tiny
from melascope.errors import ModelError
from melascope.explain.cam import heat_map
from melascope.files import sha256
from melascope.infer import convert
from melascope.infer.predictor import Predictor
from melascope.learn import network
from melascope.learn.backend import keras


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A backbone of `keras.applications` as `train` saves it, its batch normalisation fitted to noise.

    Without that, random weights let the signal fade to nothing, and everything would equal everything.
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
    convert.to_onnx(path, path.with_suffix(".onnx"))
    return path


def test_the_converted_file_says_what_keras_says_for_any_batch(mobilenet):
    session = onnxruntime.InferenceSession(mobilenet.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert [value.name for value in session.get_outputs()] == ["logits", "cam"]
    assert session.get_modelmeta().custom_metadata_map["keras_sha256"] == sha256(mobilenet)
    net = keras.saving.load_model(mobilenet, compile=False)
    for batch in (1, 7, 32):
        pixels = np.random.default_rng(batch).uniform(0, 255, (batch, 32, 32, 3)).astype(np.float32)
        logits, cam = session.run(["logits", "cam"], {"image": pixels})
        expected = net.predict(pixels, verbose=0)
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-4)
        assert expected.std() > 0.01 or batch == 1  # not one answer to everything
        assert cam.shape == (batch, 2, 1, 1)
    assert sorted(path.name for path in mobilenet.parent.iterdir()) == ["model.keras", "model.onnx"]


@pytest.mark.parametrize("target", [0, 1])
def test_the_activation_map_equals_autograd_grad_cam(tiny_model, target):
    """Selvaraju et al. 2017, computed by the book: gradients averaged over places weigh the feature maps."""
    session = onnxruntime.InferenceSession(tiny_model.with_suffix(".onnx"))
    net = keras.saving.load_model(tiny_model, compile=False)
    graph = keras.Model(net.input, [net.get_layer("pool").input, net.get_layer("logits").output])
    shown = 0
    for seed in range(8):
        pixels = tiny.lesion(seed, tiny.SIZE, tiny.SIZE)[None].astype(np.float32)
        features, logits = graph(torch.tensor(pixels))
        gradient = torch.autograd.grad(logits[0, target], features)[0]
        alpha = gradient.mean(dim=(1, 2), keepdim=True)
        expected = torch.relu((alpha * features).sum(-1))[0].detach().numpy()
        found = np.maximum(session.run(["cam"], {"image": pixels})[0][0, target], 0)
        if expected.max() == 0:
            assert found.max() == 0
            continue
        shown += 1
        np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-4)
    assert shown > 3


def test_the_activation_map_of_a_network_computed_by_hand(tmp_path):
    """Two feature maps, red and green brightness; the head wants red and not green."""
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
    convert.to_onnx(tmp_path / "hand.keras", tmp_path / "hand.onnx")
    tiny.write_card(tmp_path / "hand.json", input_size=4)
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
        lambda: tiny.build(pooled=keras.layers.Dense(16, activation="relu")),
        lambda: tiny.build(pooled=keras.layers.Dense(5)),
        lambda: tiny.build(activation="sigmoid"),
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
        convert.to_onnx(tmp_path / "unfit.keras", tmp_path / "unfit.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["unfit.keras"]


def _zip(**members: str) -> "bytes":
    import io

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return data.getvalue()


WHOLE = {"metadata_json": "{}", "config_json": "{}", "model_weights_h5": "no"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", r"not a \.keras file"),
        (b"text", r"not a \.keras file"),
        (np.random.default_rng(0).bytes(10_000), r"not a \.keras file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), r"not a \.keras file"),
        (_zip(hello_txt="hello"), r"lacks config\.json, metadata\.json, model\.weights\.h5"),
        (_zip(**WHOLE), "not a model Keras can load"),
        (_zip(**{**WHOLE, "config_json": "not JSON"}), "not a model Keras can load"),
        (_zip(**{**WHOLE, "config_json": '{"module": "os", "class_name": "system"}'}), "Keras can load"),
        (_zip(**WHOLE)[:-30], r"not a \.keras file"),
    ],
    ids=["empty", "text", "noise", "HDF5", "ZIP", "no graph", "no JSON", "code", "cut short"],
)
def test_what_is_no_model_is_one_line(data, why, tmp_path):
    (tmp_path / "no.keras").write_bytes(data)
    with pytest.raises(ModelError, match=why) as caught:
        convert.to_onnx(tmp_path / "no.keras", tmp_path / "no.onnx")
    assert str(caught.value).startswith(f"{tmp_path / 'no.keras'}: ")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["no.keras"]


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "_MAX_BYTES", 2**20)
    (tmp_path / "bomb.keras").write_bytes(_zip(**{**WHOLE, "model_weights_h5": "0" * 2**21}))
    monkeypatch.setattr(keras.saving, "load_model", None)  # it must not get there
    with pytest.raises(ModelError, match="unpacks to more than 1 MiB"):
        convert.to_onnx(tmp_path / "bomb.keras", tmp_path / "bomb.onnx")


def test_without_the_extra_the_way_out_is_named(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"needs the package onnx; pip install 'melascope\[train\]'"):
        convert.to_onnx(tiny_model, tmp_path / "tiny.onnx")

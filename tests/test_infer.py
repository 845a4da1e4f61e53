"""Inference: the converted model, the predictor, and the JSON lines that others build on."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from melascope.errors import ModelError
from melascope.explain.cam import heat_map
from melascope.explain.overlay import blend
from melascope.files import sha256
from melascope.images import load
from melascope.infer import convert
from melascope.infer.answer import is_weak
from melascope.infer.predictor import Predictor
from melascope.learn import network
from melascope.learn.backend import keras
from melascope.learn.card import Card

SIZE = 64
FIELDS = [
    "path", "status", "label", "confidence", "malignant", "melanoma", "threshold", "weak", "reason", "model",
]  # fmt: skip


def write_card(path: Path, **changes: object) -> None:
    values: dict[str, object] = {
        "name": "tiny",
        "architecture": "MobileNetV2",
        "weights": "none",
        "parameters": 1,
        "input_size": SIZE,
        "temperature": {"malignant": 1.5, "melanoma": 0.8},
        "threshold": {"malignant": 0.3, "melanoma": 0.2},
        "sensitivity": 0.95,
        "keras_sha256": sha256(path.with_suffix(".keras")),
    }
    Card(**{**values, **changes}).write(path.with_suffix(".json"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random network whose head is not zero, converted."""
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    net = network.build("MobileNetV2", SIZE, None, 0.2)
    rng = np.random.default_rng(0)
    net.get_layer("logits").set_weights(
        [rng.normal(0, 0.5, (1280, 2)).astype(np.float32), np.array([0.1, -0.2], dtype=np.float32)]
    )
    net.save(folder / "tiny.keras")
    write_card(folder / "tiny.json")
    convert.to_onnx(folder / "tiny.keras", folder / "tiny.onnx")
    return folder / "tiny.keras"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Images that can be judged: a dark disc on textured skin."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :240]
    for i in range(40):
        pixels = np.full((200, 240, 3), (210, 170, 150)) + rng.normal(0, 14, (200, 240, 1))
        pixels[(y - 100) ** 2 + (x - 120) ** 2 < (30 + i) ** 2] -= (100, 90, 80)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:02}.png")
    return folder


def run(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from melascope.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )


def test_answers_equal_keras_with_the_card_applied(model, pictures):
    paths = sorted(map(str, pictures.iterdir()))
    answers = list(Predictor.load(model).predict(paths))
    net = keras.saving.load_model(model, compile=False)
    pixels = np.stack([load(path, SIZE) for path in paths]).astype(np.float32)
    logits = network.part(net, "logits").predict(pixels, verbose=0)
    for i, (target, temperature) in enumerate((("malignant", 1.5), ("melanoma", 0.8))):
        expected = 1 / (1 + np.exp(-logits[:, i] / temperature))
        np.testing.assert_allclose([getattr(a, target) for a in answers], expected, atol=1e-4)
    assert [a.path for a in answers] == paths
    for answer in answers:
        assert answer.status == "ok"
        assert answer.label == ("malignant" if answer.malignant >= 0.3 else "benign")
        assert answer.confidence == (
            answer.malignant if answer.label == "malignant" else 1 - answer.malignant
        )


def test_the_activation_map_equals_autograd_grad_cam(model, pictures):
    """Selvaraju et al. 2017, computed by the book: gradients averaged over places weigh the feature maps."""
    path = str(pictures / "05.png")
    answer = next(Predictor.load(model).predict([path]))
    net = keras.saving.load_model(model, compile=False)
    graph = keras.Model(net.input, [net.get_layer("pool").input, net.get_layer("logits").output])
    for target in (0, 1):
        features, logits = graph(torch.tensor(load(path, SIZE)[None].astype(np.float32)))
        gradient = torch.autograd.grad(logits[0, target], features)[0]
        alpha = gradient.mean(dim=(1, 2), keepdim=True)
        expected = torch.relu((alpha * features).sum(-1))[0].detach().numpy()
        assert expected.max() > 0
        expected = expected / expected.max()
        found = np.maximum(answer.heat[target], 0)
        np.testing.assert_allclose(found / found.max(), expected, atol=1e-4)


def test_the_activation_map_of_a_network_computed_by_hand(tmp_path):
    """Two feature maps, red and green brightness; the head wants red and not green."""
    image = keras.Input((4, 4, 3), name="image")
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
    write_card(tmp_path / "hand.json", input_size=4)
    red, green = [[200, 0], [100, 0]], [[0, 80], [100, 0]]
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.kron(red, np.ones((2, 2))), np.kron(green, np.ones((2, 2)))
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    answer = next(Predictor.load(tmp_path / "hand.keras").predict([str(tmp_path / "picture.png")]))
    np.testing.assert_allclose(answer.heat[0], [[400, -80], [100, 0]], atol=1e-3)
    np.testing.assert_allclose(answer.heat[1], green, atol=1e-3)
    np.testing.assert_allclose(heat_map(answer.heat[0], 2), [[1, 0], [0.25, 0]], atol=1e-6)


def test_no_heat_leaves_the_skin_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    assert (blend(pixels, heat_map(np.full((4, 4), -1.0, dtype=np.float32), 16)) == pixels).all()


def test_json_lines_are_a_contract(model, pictures, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    data = io.BytesIO()
    Image.open(pictures / "00.png").save(data, "JPEG")
    (tmp_path / "half.jpg").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    Image.new("RGB", (40, 40), "white").save(tmp_path / "small.png")
    Image.new("RGB", (300, 300), (200, 160, 140)).save(tmp_path / "blank.png")
    result = run("predict", pictures, tmp_path, "missing.jpg", "--model", model, "--format", "jsonl")
    assert result.returncode == 1
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(list(row) == FIELDS for row in rows)
    names = sorted(str(path) for path in pictures.iterdir())
    names += [str(tmp_path / f"{n}") for n in ("blank.png", "empty.jpg", "half.jpg", "small.png", "text.jpg")]
    assert [row["path"] for row in rows] == [*names, "missing.jpg"]
    statuses = {Path(row["path"]).name: row["status"] for row in rows}
    assert {name: s for name, s in statuses.items() if s != "ok"} == {
        "blank.png": "refused", "small.png": "refused", "empty.jpg": "error", "half.jpg": "error",
        "text.jpg": "error", "missing.jpg": "error",
    }  # fmt: skip
    for row in rows:
        assert row["model"].startswith("tiny@")
        assert row["threshold"] == 0.3
        assert (row["label"] is None) == (row["confidence"] is None) == (row["status"] != "ok")
        assert (row["malignant"] is None) == (row["melanoma"] is None) == (row["status"] == "error")
        assert (row["reason"] is None) == (row["status"] == "ok")
    assert "never replaces" in result.stderr
    again = run("predict", pictures, "--model", model, "--format", "csv")
    assert again.returncode == 0
    assert again.stdout.splitlines()[0] == ",".join(FIELDS)
    table = run("predict", pictures / "00.png", "--model", model)
    assert table.returncode == 0
    assert len(table.stdout.splitlines()) == 2


def test_zip_members_are_images_too(model, pictures, tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for name in ("b/2.png", "a/1.png"):
            archive.write(pictures / "00.png", name)
    result = run("predict", tmp_path / "some.zip", "--model", model, "--format", "jsonl")
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == [
        f"{tmp_path}/some.zip::{name}" for name in ("a/1.png", "b/2.png")
    ]


def test_prediction_is_light(model, pictures):
    code = (
        "import sys\nfrom melascope.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'keras', 'torch', 'pandas', 'matplotlib', 'sklearn', 'scipy', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    words = [sys.executable, "-c", code, "predict", str(pictures / "00.png"), "--model", str(model)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_target_that_was_not_learned_is_null(model, pictures, tmp_path):
    for suffix in (".keras", ".onnx"):
        (tmp_path / f"tiny{suffix}").write_bytes(model.with_suffix(suffix).read_bytes())
    write_card(tmp_path / "tiny.json", temperature={"malignant": 1.0}, threshold={"malignant": 0.5})
    answer = next(Predictor.load(tmp_path / "tiny").predict([str(pictures / "00.png")]))
    assert answer.melanoma is None
    assert answer.malignant is not None
    explained = run("explain", pictures / "00.png", "--model", tmp_path / "tiny", "--out", tmp_path / "out",
                    "--target", "melanoma")  # fmt: skip
    assert explained.returncode == 2
    assert "did not learn melanoma" in explained.stderr


def test_a_keras_file_alone_is_converted_once_and_where_it_can(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tiny.keras").write_bytes(model.read_bytes())
    write_card(folder / "tiny.json")
    expected = next(Predictor.load(model).predict([str(pictures / "00.png")]))
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = next(Predictor.load(folder / "tiny.keras").predict([str(pictures / "00.png")]))
    assert found.malignant == pytest.approx(expected.malignant, abs=1e-6)
    assert not (folder / "tiny.onnx").exists()
    assert len(list((tmp_path / "cache" / "melascope").iterdir())) == 1
    monkeypatch.setattr(convert, "to_onnx", None)  # a second conversion would fail
    Predictor.load(folder / "tiny.keras")


def test_models_that_are_none_are_one_line(model, tmp_path):
    (tmp_path / "text.keras").write_text("not a model")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("hello.txt", "hello")
    for name in ("text", "other"):
        write_card(tmp_path / f"{name}.json")
        with pytest.raises(ModelError, match=r"not a \.keras file"):
            Predictor.load(tmp_path / f"{name}.keras")
    (tmp_path / "alone.keras").write_bytes(model.read_bytes())
    with pytest.raises(ModelError, match=r"alone\.json: missing"):
        Predictor.load(tmp_path / "alone")
    write_card(tmp_path / "alone.json", keras_sha256="0" * 64)
    with pytest.raises(ModelError, match="not the model that its card"):
        Predictor.load(tmp_path / "alone")
    (tmp_path / "alone.json").write_text("{}")
    with pytest.raises(ModelError, match="not a model's card"):
        Predictor.load(tmp_path / "alone")
    write_card(tmp_path / "alone.json")
    (tmp_path / "alone.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="ONNX Runtime"):
        Predictor.load(tmp_path / "alone")


def test_a_head_without_an_activation_map_is_refused(tmp_path):
    image = keras.Input((32, 32, 3), name="image")
    flat = keras.layers.Flatten(name="pool")(keras.layers.Conv2D(2, 3)(image))
    keras.Model(image, keras.layers.Dense(2, name="logits")(flat)).save(tmp_path / "flat.keras")
    with pytest.raises(ModelError, match="class activation map"):
        convert.to_onnx(tmp_path / "flat.keras", tmp_path / "flat.onnx")
    assert not (tmp_path / "flat.onnx").exists()


def test_weak_is_near_one_half_or_near_the_threshold():
    assert [is_weak(p, 0.2) for p in (0.14, 0.16, 0.24, 0.26, 0.44, 0.46, 0.54, 0.56)] == [
        False, True, True, False, False, True, True, False,
    ]  # fmt: skip


def test_explain_writes_a_picture_for_each_image(model, pictures, tmp_path):
    (tmp_path / "00.png").write_bytes(b"broken")
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "01.png").write_bytes((pictures / "01.png").read_bytes())
    result = run("explain", pictures / "01.png", tmp_path / "twin", tmp_path / "00.png", "--model", model,
                 "--out", tmp_path / "out")  # fmt: skip
    assert result.returncode == 1
    assert result.stdout.split() == [str(tmp_path / "out" / name) for name in ("01.png", "01-2.png")]
    assert "00.png" in result.stderr
    with Image.open(tmp_path / "out" / "01.png") as picture:
        assert picture.width > 2 * picture.height * 0.6

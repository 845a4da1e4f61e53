"""Inspection of a `.keras` file before Keras loads it: each refusal, and what is let through."""

import io
import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from helpers import models
from melascope.errors import ModelError
from melascope.learn import backbones, network
from melascope.learn.backend import keras
from melascope.model import keras_file

WHOLE = {"metadata.json": '{"keras_version": "3.15.1"}', "config.json": "{}", "model.weights.h5": "no"}


def zipped(members, method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return data.getvalue()


def altered(model, to, change):
    """A copy of a model whose graph is changed."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(to, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            target.writestr(name, data)
    return to


def test_a_model_is_described_without_a_framework(tiny_model):
    contents = keras_file.inspect(tiny_model)
    net = keras.saving.load_model(tiny_model)
    assert contents.layers.total() == len(net.layers)
    assert contents.layers["Conv2D"] == 2
    assert contents.inputs == {"image": [None, models.SIZE, models.SIZE, 3]}
    assert contents.outputs == ["probability"]
    assert contents.keras_version == keras.__version__
    keras_file.inspect_weights(tiny_model)


@pytest.mark.parametrize("name", [*backbones.EXAMPLES, "MobileNetV3Small", "ResNet50V2", "ConvNeXtTiny"])
def test_every_family_is_let_through(name, tmp_path):
    network.build(name, 64, None, 0.2).save(tmp_path / "net.keras")
    assert keras_file.inspect(tmp_path / "net.keras").outputs == ["probability"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", r"not a \.keras file"),
        (b"text", r"not a \.keras file"),
        (np.random.default_rng(0).bytes(10_000), r"not a \.keras file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), r"not a \.keras file"),
        (zipped({"hello.txt": "hello"}), r"lacks config\.json, metadata\.json, model\.weights\.h5"),
        (zipped({**WHOLE, "../../evil.py": "x"}), r"holds '\.\./\.\./evil\.py' too"),
        (zipped({**WHOLE, "/etc/passwd": "x"}), "holds '/etc/passwd' too"),
        (zipped({**WHOLE, "assets/vocabulary.txt": "x"}), "holds 'assets/vocabulary.txt' too"),
        (zipped(WHOLE), "its graph is not one that Keras writes"),
        (zipped({**WHOLE, "config.json": "not JSON"}), r"not a \.keras file"),
        (zipped({**WHOLE, "config.json": "[" * 100_000}), r"not a \.keras file"),
        (zipped({**WHOLE, "config.json": " " * 2**25}), r"config\.json unpacks to 32 MiB, too much"),
        (zipped({**WHOLE, "config.json": '{"module": "os", "class_name": "system"}'}), r"uses os\.system"),
        (zipped(WHOLE)[:-30], r"not a \.keras file"),
    ],
    ids=[
        "empty",
        "text",
        "noise",
        "HDF5",
        "ZIP",
        "up",
        "absolute",
        "assets",
        "no-graph",
        "no-JSON",
        "deep",
        "bomb",
        "code",
        "short",
    ],
)
def test_a_file_that_is_not_a_model_is_one_line(data, why, tmp_path):
    (tmp_path / "no.keras").write_bytes(data)
    with pytest.raises(ModelError, match=why) as caught:
        keras_file.inspect(tmp_path / "no.keras")
    assert str(caught.value).startswith(f"{tmp_path / 'no.keras'}: ")
    assert "\n" not in str(caught.value)


def test_two_members_of_one_name_are_refused(tmp_path):
    """Readers differ in which of the two they take, so one would look at this one and load that one."""
    (tmp_path / "twice.keras").write_bytes(zipped(WHOLE))
    with zipfile.ZipFile(tmp_path / "twice.keras", "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", "other")
    with pytest.raises(ModelError, match=r"holds 'config\.json' too"):
        keras_file.inspect(tmp_path / "twice.keras")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_file, "MAX_BYTES", 2**20)
    (tmp_path / "bomb.keras").write_bytes(zipped({**WHOLE, "model.weights.h5": "0" * 2**21}))
    with pytest.raises(ModelError, match=r"model\.weights\.h5 unpacks to 2 MiB, too much"):
        keras_file.inspect(tmp_path / "bomb.keras")


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ({"module": "keras.layers", "class_name": "Lambda", "config": {"function": LAMBDA}}, r"\.Lambda,"),
        (
            {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}},
            "TFSMLayer",
        ),
        ({"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}}, "TorchModuleWrapper"),
        ({"module": None, "class_name": "Evil", "config": {}, "registered_name": "x>Evil"}, r"None\.Evil"),
        ({"module": "keras.layers", "class_name": "Dense", "registered_name": "x>Dense"}, r"layers\.Dense"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, r"builtins\.function"),
        ({"module": "keras.utils", "class_name": "get_file"}, r"keras\.utils\.get_file"),
        ({"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**9}}, "units = 1000000000"),
    ],
    ids=["lambda", "saved-model", "torch", "custom", "registered", "function", "download", "huge"],
)
@pytest.mark.parametrize("place", ["layer", "activation"])
def test_dangerous_graphs_never_reach_keras(layer, why, place, tiny_model, tmp_path, monkeypatch):
    def plant(config):
        if place == "layer":
            config["config"]["layers"].append(layer)
        else:
            config["config"]["layers"][2]["config"]["activation"] = layer

    planted = altered(tiny_model, tmp_path / "planted.keras", plant)
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras loaded it"))
    with pytest.raises(ModelError, match=why):
        network.load(planted)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")  # Keras, before it refuses
def test_weights_of_another_network_are_refused(tiny_model, tmp_path):
    other = models.build(pooled=keras.layers.Dense(5))
    other.save(tmp_path / "other.keras")
    with zipfile.ZipFile(tmp_path / "other.keras") as file:
        config = json.loads(file.read("config.json"))
    mixed = altered(tiny_model, tmp_path / "mixed.keras", lambda mine: mine.update(config))
    with pytest.raises(ModelError, match="not a model Keras can load"):
        network.load(mixed)


def external(file, folder):
    (folder / "secret").write_bytes(bytes(64))
    file.create_dataset("x", (16,), "f4", external=[(str(folder / "secret"), 0, 64)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (4,))
    file.create_virtual_dataset("x", layout)


def huge(file, folder):
    file.create_dataset("x", (2**40,), "f4", chunks=(2**10,), compression="gzip")


def circle(file, folder):
    file["group/again"] = file.create_group("group")


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (lambda file, _: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/x")), "'x', a link"),
        (lambda file, _: file.__setitem__("x", h5py.SoftLink("/layers")), "'x', a link"),
        (external, "/x, which is not plain numbers"),
        (virtual, "/x, which is not plain numbers"),
        (lambda file, _: file.create_dataset("x", data=np.array([b"text"], "S4")), "not plain numbers"),
        (huge, "unpack to more than 1024 MiB"),
        (circle, None),
    ],
    ids=["external-link", "soft-link", "external-data", "virtual", "text", "huge", "circle"],
)
def test_weights_that_point_elsewhere_are_refused(plant, why, tiny_model, tmp_path):
    with zipfile.ZipFile(tiny_model) as source:
        source.extract("model.weights.h5", tmp_path)
        members = {name: source.read(name) for name in source.namelist()}
    with h5py.File(tmp_path / "model.weights.h5", "a") as file:
        plant(file, tmp_path)
    members["model.weights.h5"] = (tmp_path / "model.weights.h5").read_bytes()
    (tmp_path / "planted.keras").write_bytes(zipped(members))
    if why is None:
        keras_file.inspect_weights(tmp_path / "planted.keras")
    else:
        with pytest.raises(ModelError, match=why):
            keras_file.inspect_weights(tmp_path / "planted.keras")


def test_damaged_weights_are_one_line(tiny_model, tmp_path):
    shutil.copy(tiny_model, tmp_path / "damaged.keras")
    data = bytearray((tmp_path / "damaged.keras").read_bytes())
    at = data.find(b"\x89HDF")
    data[at + 40 : at + 400] = bytes(360)
    (tmp_path / "damaged.keras").write_bytes(data)
    with pytest.raises(ModelError, match="its weights cannot be read"):
        keras_file.inspect_weights(tmp_path / "damaged.keras")

"""Training: what it learns and writes, and that a killed run ends as an unbroken one."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from helpers.datasets import make_data
from melascope import manifest
from melascope.errors import DataError, ModelError
from melascope.learn import backbones, network, training
from melascope.learn.backend import keras
from melascope.learn.settings import Settings
from melascope.model.card import Card

SMALL = Settings(backbone="MobileNetV2", weights=None, size=32, epochs=2, batch=8)


def probabilities(path, images):
    return keras.saving.load_model(path, compile=False).predict(images, verbose=0)


def test_a_model_loads_the_same_in_a_fresh_process(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    training.train_networks(data, run, SMALL)
    card = Card.read(run / "model.json")
    assert card.input_size == 32
    assert set(card.threshold) == {"malignant", "melanoma"}
    assert card.data["hash"] == manifest.content_hash(manifest.read(data))
    with (run / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    images = np.random.default_rng(1).integers(0, 255, (4, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys, numpy as np, keras\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, run / "model.keras", tmp_path / "images.npy", tmp_path / "out.npy"],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), probabilities(run / "model.keras", images), atol=1e-6
    )


def test_a_finished_run_is_left_alone(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    settings = Settings(**{**vars(SMALL), "epochs": 1})
    training.train_networks(data, run, settings)
    before = (run / "model.keras").stat().st_mtime_ns
    training.train_networks(data, run, settings)
    assert (run / "model.keras").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="other settings"):
        training.train_networks(data, run, SMALL)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
def test_an_interrupted_run_is_resumed(tmp_path):
    """Equal up to rounding: Adam's first steps magnify the last bit, so later losses are compared, not weights."""
    data = make_data(tmp_path / "data")
    settings = Settings(**{**vars(SMALL), "epochs": 3, "patience": 9, "rate": 2e-4})

    def die(what, done, total):
        if what.startswith("training") and done == 5:
            raise Killed

    with pytest.raises(Killed):
        training.train_networks(data, tmp_path / "killed", settings, die)
    assert not (tmp_path / "killed" / "model.json").is_file()
    histories = {}
    for name in ("whole", "killed"):
        training.train_networks(data, tmp_path / name, settings)
        assert not (tmp_path / name / ".checkpoint").exists()
        histories[name] = pd.read_csv(tmp_path / name / "history.csv")
    assert histories["killed"]["epoch"].tolist() == [1, 2, 3]
    assert histories["killed"]["loss"][0] == histories["whole"]["loss"][0]
    np.testing.assert_allclose(histories["killed"]["loss"], histories["whole"]["loss"], rtol=0.03)


@pytest.mark.slow
def test_a_killed_process_leaves_no_half_model(tmp_path):
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom melascope.learn import training\n"
        "settings = training.Settings('MobileNetV2', None, 32, epochs=20, patience=20)\n"
        "training.train_networks(Path(sys.argv[1]), Path(sys.argv[2]), settings)\n"
    )
    command = [sys.executable, str(script), str(data), str(run)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 100
    while not (run / "history.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "model.json").is_file()
    subprocess.run(command, check=True)
    assert len((run / "history.csv").read_text().splitlines()) == 21
    assert Card.read(run / "model.json").training["epochs_run"] == 20


def test_a_target_without_labels_is_not_learned(tmp_path):
    data, run = make_data(tmp_path / "data", unknown_melanoma=True), tmp_path / "run"
    training.train_networks(data, run, Settings(**{**vars(SMALL), "epochs": 1}))
    document = json.loads((run / "model.json").read_text())
    assert list(document["operating_points"]) == list(document["outputs"]) == ["malignant"]


def test_one_class_only_is_a_clear_error(tmp_path):
    data = make_data(tmp_path / "data")
    table = manifest.read(data)
    manifest.write(table.assign(malignant=False, melanoma=False).astype({"malignant": "boolean"}), data)
    with pytest.raises(DataError, match="malignant and benign"):
        training.train_networks(data, tmp_path / "run", SMALL)


@pytest.mark.slow
def test_members_become_the_mean_of_their_weights(tmp_path):
    data = make_data(tmp_path / "data")
    with pytest.raises(ModelError, match="pretrained"):
        training.train_networks(data, tmp_path / "no", Settings(**{**vars(SMALL), "members": 2}))
    weights = tmp_path / "some.weights.h5"
    backbones.make("MobileNetV2", keras.Input((32, 32, 3))).save_weights(weights)
    asked = Settings(**{**vars(SMALL), "epochs": 1, "weights": str(weights), "rate": 1e-3, "members": 2})
    made = training.train_networks(data, tmp_path / "run", asked)
    assert made == [tmp_path / "run" / "base.keras", tmp_path / "run" / "model.keras"]
    parts = [
        network.load(tmp_path / "run" / f"member-{number}" / "model.keras").get_weights() for number in (0, 1)
    ]
    assert any((one != other).any() for one, other in zip(*parts, strict=True))
    for kept, one, other in zip(network.load(made[1]).get_weights(), *parts, strict=True):
        np.testing.assert_allclose(kept, (one + other) / 2, rtol=1e-6, atol=1e-7)
    card = Card.read(tmp_path / "run" / "model.json")
    assert card.training["settings"]["members"] == 2
    assert card.training["member-0"]["epochs_run"] == card.training["member-1"]["epochs_run"] == 1
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert training.train_networks(data, tmp_path / "run", asked) == made  # finished: nothing is done again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before

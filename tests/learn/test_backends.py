"""The same code learns on every backend of Keras, and what it learned answers the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.datasets import make_data
from helpers.models import write_pictures

MELASCOPE = Path(sys.executable).with_name("melascope")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_training_and_answers(backend, tmp_path):
    pytest.importorskip(backend)
    data, run = make_data(tmp_path / "data"), tmp_path / "run"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    words = ["train", data, "--out", run, "--backbone", "MobileNetV2", "--weights", "none", "--size", 32]
    words += ["--epochs", 1, "--batch", 8]
    subprocess.run([MELASCOPE, *map(str, words)], check=True, env=environment)
    card = json.loads((run / "model.json").read_text())
    assert backend in card["versions"]
    assert (
        0
        <= card["metrics"]["validation, on which the stopping point was chosen"]["malignant"]["roc_auc"]
        <= 1
    )

    write_pictures(tmp_path, 3)
    pictures = [str(tmp_path / f"{i:02}.png") for i in range(3)]
    done = subprocess.run(
        [MELASCOPE, "predict", *pictures, "--model", run, "--format", "jsonl"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    answers = [json.loads(line)["malignant"] for line in done.stdout.splitlines()]
    script = (
        "import sys, json, numpy as np; from melascope import images; from melascope.learn import network\n"
        "pixels = np.stack([images.load(path, 32) for path in sys.argv[2:]]).astype('float32')\n"
        "net = network.truncated_at(network.load(sys.argv[1]), 'logits')\n"
        "print(json.dumps(np.asarray(net.predict_on_batch(pixels))[:, 0].tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, run / "model.keras", *pictures],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    logits = np.array(json.loads(done.stdout.splitlines()[-1])) * card["calibration"]["malignant"]["slope"]
    np.testing.assert_allclose(answers, 1 / (1 + np.exp(-logits)), atol=1e-4)

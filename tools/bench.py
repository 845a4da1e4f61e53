"""What Melascope costs on this machine, each figure beside the plain way, measured in one run.

Prints a table and writes `bench.json`. Ratios travel between machines; seconds do not.

    make bench
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime

from melascope import synthetic
from melascope.files import sha256
from melascope.infer import convert
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.learn import network
from melascope.learn.card import Card

SIZE, BACKBONE, IMAGES = 160, "MobileNetV2", 400

# The usual script: the one that a user without Melascope would write.
PLAIN = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
size = int(sys.argv[2])
model = keras.models.load_model(sys.argv[1], compile=False)
load = lambda path: np.asarray(keras.utils.load_img(path, target_size=(size, size)), dtype="float32")
print(model.predict(np.stack([load(path) for path in sys.argv[3:]]), verbose=0))
"""


def seconds(work: Callable[[], object], repeat: int) -> float:
    """Median duration of a piece of work, after one run that does not count."""
    work()
    took = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def command(*words: object) -> Callable[[], object]:
    """A process to be timed, its output dropped."""
    return lambda: subprocess.run([str(word) for word in words], check=True, capture_output=True)


def make_model(folder: Path) -> Path:
    """A network with random weights: its speed is that of a trained one."""
    path = folder / "model.keras"
    net = network.build(BACKBONE, SIZE, None, 0.2)
    net.save(path)
    Card(
        name="bench",
        architecture=BACKBONE,
        weights="none",
        parameters=net.count_params(),
        input_size=SIZE,
        temperature=dict.fromkeys(TARGETS, 1.0),
        threshold=dict.fromkeys(TARGETS, 0.5),
        sensitivity=0.95,
        keras_sha256=sha256(path),
    ).write(folder / "model.json")
    convert.to_onnx(path, folder / "model.onnx")
    return path


def bare_session(path: Path) -> float:
    """Images a second of ONNX Runtime alone on a ready tensor, at its best batch size."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    best = 0.0
    for batch in (1, 4, 16, 32):
        pixels = np.random.default_rng(0).uniform(0, 255, (batch, SIZE, SIZE, 3)).astype(np.float32)
        best = max(best, batch / seconds(lambda x=pixels: session.run(None, {"image": x}), 5))
    return best


def main() -> None:
    """Measure, print, write."""
    python, melascope = sys.executable, Path(sys.executable).with_name("melascope")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        truth = synthetic.write_archive(folder / "raw", images=IMAGES, seed=0)
        for name in truth.damaged:  # the plain script would stop at them
            (folder / "raw" / "clinic_a" / f"{name}.jpg").unlink()
        pictures = sorted(str(path) for path in (folder / "raw").rglob("*.jpg"))[:IMAGES]
        model = make_model(folder)
        predictor = Predictor.load(model)
        cold = seconds(command(melascope, "predict", pictures[0], "--model", model), 5)
        cold_plain = seconds(command(python, "-c", PLAIN, model, SIZE, pictures[0]), 3)
        stream = len(pictures) / seconds(lambda: list(predictor.predict(pictures)), 3)
        bare = bare_session(model.with_suffix(".onnx"))
        everything = seconds(command(python, "-c", PLAIN, model, SIZE, *pictures), 1)
        plain = len(pictures) / max(everything - cold_plain, 1e-9)
        prepare = [melascope, "prepare", folder / "raw", "--out", folder / "data", "--seed"]
        started = time.perf_counter()
        command(*prepare, 0)()
        first = time.perf_counter() - started
        again = seconds(command(*prepare, 0), 3)
    rows = [
        ("predict one image, cold command", "s", cold, "plain Keras script", cold_plain, cold_plain / cold),
        ("predict a folder, warm", "images/s", stream, "bare ONNX Runtime session", bare, stream / bare),
        ("predict a folder, warm", "images/s", stream, "plain Keras predict", plain, stream / plain),
        (f"prepare {len(pictures)} images", "s", first, "second run, unchanged", again, first / again),
    ]
    for what, unit, value, against, other, ratio in rows:
        print(f"{what:34} {value:8.2f} {unit:9} {against:28} {other:8.2f}   ratio {ratio:6.2f}")
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "network": f"{BACKBONE}, {SIZE} px, float32",
        "rows": [
            dict(zip(("what", "unit", "value", "against", "other", "ratio"), row, strict=True))
            for row in rows
        ],
    }
    Path("bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

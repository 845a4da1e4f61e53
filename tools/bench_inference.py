"""What inference costs on this machine, each figure beside the plain way, measured in one run.

Prints a table and writes `bench.json`. Ratios travel between machines; seconds do not. The networks have random
weights: their speed is that of trained ones.

    make bench
"""

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx.utils
import onnxruntime
from random_model import make_model
from record import record

from melascope import images, quality, synthetic
from melascope.infer import runtime
from melascope.infer.predictor import Predictor
from melascope.learn import network
from melascope.model import onnx_file
from melascope.model.folder import SHIPPED, ModelFiles
from melascope.model.gate import Gate

NETWORKS = (("EfficientNetB0", 224), ("MobileNetV2", 160))
IMAGES, PLAIN_IMAGES, FEW, MANY = 2000, 400, 1000, 10_000
PYTHON, MELASCOPE = sys.executable, Path(sys.executable).with_name("melascope")

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


class Row(NamedTuple):
    """One figure beside another; of `ratio`, `aim` is the least (`>=`) or the most (`<=`) that was aimed at."""

    what: str
    unit: str
    value: float
    against: str
    other: float
    ratio: float
    aim: str


def seconds(work: Callable[[], object], repeat: int) -> float:
    """Median duration of a piece of work, after one run that does not count."""
    work()
    took = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def command(*words: object) -> float:
    """Run a process, its output dropped; return its peak memory in MB."""
    # A process counts as its own what its parent held when it was started, so a small one starts it.
    light = (
        "import os, sys\n"
        "null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]\n"
        "process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)\n"
        "_, status, usage = os.wait4(process, 0)\n"
        "print(status, usage.ru_maxrss)"
    )
    done = subprocess.run(
        [PYTHON, "-S", "-c", light, *map(str, words)], check=True, capture_output=True, text=True
    )
    status, peak = map(int, done.stdout.split())
    if os.waitstatus_to_exitcode(status) not in (0, 1):  # 1: some inputs could not be read
        raise SystemExit(f"{words[:3]} ended with {os.waitstatus_to_exitcode(status)}")
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def export(model: Path, size: int) -> Path:
    """The network as Keras itself exports it."""
    path = model.with_name(f"{model.stem}-exported.onnx")
    net = network.load(model)
    net(np.zeros((1, size, size, 3), dtype=np.float32))  # Keras exports only what was called
    with contextlib.redirect_stdout(io.StringIO()):
        net.export(str(path), format="onnx", verbose=False)
    return path


def bare(onnx: Path, size: int, batch: int) -> float:
    """Seconds an image of ONNX Runtime alone, as it comes, on a ready tensor."""
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pixels = np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)).astype(np.float32)
    return seconds(lambda: session.run(None, {name: pixels}), max(10, 200 // batch)) / batch


def inference(folder: Path, pictures: list[str], backbone: str, size: int) -> Iterator[Row]:
    """What `predict` costs with one network."""
    model = make_model(folder, backbone, size)
    predict = (MELASCOPE, "predict", "--model", model)
    cold = seconds(lambda: command(*predict, pictures[0]), 5)
    plain = (PYTHON, "-c", PLAIN, model, size)
    cold_plain = seconds(lambda: command(*plain, pictures[0]), 3)
    yield Row("cold command", "s", cold, "plain Keras script", cold_plain, cold_plain / cold, ">= 8")
    memory, other = command(*predict, pictures[0]), command(*plain, pictures[0])
    yield Row("its peak memory", "MB", memory, "plain Keras script", other, other / memory, "<= 250 MB")

    predictor = Predictor.load(model)
    warm = 1000 * seconds(lambda: list(predictor.predict(pictures[:1])), 200)
    onnx = ModelFiles(model).onnx
    alone = 1000 * bare(onnx, size, 1)
    what = "warm, one image, with map"
    yield Row(what, "ms", warm, "bare session, batch 1", alone, warm / alone, "<= 1.15")
    alone = 1000 * bare(export(model, size), size, 1)
    yield Row(what, "ms", warm, "bare, as Keras exports it", alone, warm / alone, "")

    rate = IMAGES / seconds(lambda: list(predictor.predict(pictures[:IMAGES])), 1)
    best = max(1 / bare(onnx, size, batch) for batch in (1, 2, 4, 8, 16, 32))
    yield Row("folder, warm", "images/s", rate, "bare session, best batch", best, rate / best, ">= 0.9")
    slow = seconds(lambda: command(*plain, *pictures[:PLAIN_IMAGES]), 1) - cold_plain
    slow = PLAIN_IMAGES / max(slow, 1e-9)
    yield Row("folder, warm", "images/s", rate, "plain Keras predict", slow, rate / slow, ">= 2")


def gate_cost(pictures: list[str]) -> Row:
    """What the shipped model's gate adds to an answer: quality, its features in the network, its regression."""
    predictor = Predictor.load(SHIPPED)
    card = predictor.card
    stored = ModelFiles.find(SHIPPED)
    gate = Gate.read(stored.gate, card.gate["sha256"])
    session = runtime.session(stored.onnx.read_bytes(), threads=1)
    pixels = images.decode(Path(pictures[0]).read_bytes(), pictures[0])
    batch = images.square(pixels, card.input_size)[None].astype(np.float32)
    logits, heat, features = onnx_file.OUTPUTS

    def gated() -> None:
        quality.measure(pixels)
        gate.knows(session.run([logits, heat, features], {onnx_file.INPUT: batch})[-1])

    # ONNX Runtime computes all outputs of a graph, also those that are not requested.
    whole_graph = onnx.load(stored.onnx)
    ungated = onnx.utils.Extractor(whole_graph).extract_model([onnx_file.INPUT], [logits, heat])
    bare_session = runtime.session(ungated.SerializeToString(), threads=1)
    alone = seconds(lambda: bare_session.run([logits, heat], {onnx_file.INPUT: batch}), 300)
    cost = 1000 * (seconds(gated, 300) - alone)
    whole = 1000 * seconds(lambda: predictor.answer(pixels), 300)
    return Row(
        "gate of the shipped model", "ms", cost, "whole answer, one core", whole, cost / whole, "<= 2 ms"
    )


def flat(folder: Path, pictures: list[str]) -> Row:
    """Whether memory grows with the number of images."""
    model = ModelFiles.of(folder, NETWORKS[-1][0]).keras
    peaks = []
    for count in (FEW, MANY):
        (folder / f"{count}").mkdir()
        for i in range(count):
            (folder / f"{count}" / f"{i:05}.jpg").hardlink_to(pictures[i % len(pictures)])
        peaks.append(
            command(MELASCOPE, "predict", "--format", "jsonl", "--model", model, folder / f"{count}")
        )
    few, many = peaks
    return Row(f"peak memory, {MANY:,} images", "MB", many, f"{FEW:,} images", few, many / few, "<= 1.05")


def prepared(folder: Path) -> Row:
    """What preparing the data costs, and doing it again."""
    words = (MELASCOPE, "prepare", folder / "raw", "--out", folder / "data")
    started = time.perf_counter()
    command(*words)
    first = time.perf_counter() - started
    again = seconds(lambda: command(*words), 3)
    what = f"prepare {IMAGES:,} images"
    return Row(what, "s", first, "second run, unchanged", again, first / again, "")


def main() -> None:
    """Measure, print, write."""
    rows: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        truth = synthetic.write_archive(folder / "raw", images=IMAGES + 100, seed=0)
        damaged = {f"{name}.jpg" for name in truth.damaged}  # the plain script would stop at them
        pictures = sorted(str(p) for p in (folder / "raw").rglob("*.jpg") if p.name not in damaged)[:IMAGES]
        for backbone, size in NETWORKS:
            title = f"{backbone}, {size} px, float32"
            rows[title] = []
            print(title, flush=True)
            for row in inference(folder, pictures, backbone, size):
                rows[title].append(row)
                show(row)
        title = f"{NETWORKS[-1][0]}, and the data"
        print(title)
        rows[title] = [gate_cost(pictures), flat(folder, pictures), prepared(folder)]
        for row in rows[title]:
            show(row)
    record(
        "bench.json",
        "onnxruntime",
        rows={title: [row._asdict() for row in some] for title, some in rows.items()},
    )


def show(row: Row) -> None:
    """Print one row."""
    print(
        f"  {row.what:28} {row.value:8.2f} {row.unit:9} {row.against:25} {row.other:8.2f}"
        f"   ratio {row.ratio:6.2f}   {row.aim and 'aim ' + row.aim}",
        flush=True,
    )


if __name__ == "__main__":
    main()

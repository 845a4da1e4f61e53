"""Whether a reduced precision pays: speed and ROC-AUC of a model in float32 and in int8.

    .venv/bin/python tools/precision.py runs/first data/

int8 is static quantisation with a scale for each channel, calibrated on validation images, as ONNX Runtime's
documentation advises for convolutions; figures are of the test split.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.metrics import roc_auc_score

from melascope import images, manifest
from melascope.labels import TARGETS
from melascope.model import onnx_file
from melascope.model.card import Card
from melascope.model.folder import ModelFiles

CALIBRATION = 256  # images


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Calibration images, one by one."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._batches = iter(pixels)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next image, or None."""
        image = next(self._batches, None)
        return None if image is None else {onnx_file.INPUT: image[None].astype(np.float32)}


def variants(model: Path, folder: Path, pixels: NDArray[np.uint8]) -> Iterator[tuple[str, Path]]:
    """The model in each precision."""
    yield "float32", model
    plain = folder / "plain.onnx"
    quant_pre_process(str(model), str(plain), skip_symbolic_shape=True)
    # The map and the head give answers; they are small, so they stay exact.
    answers = {node.name for node in onnx.load(plain).graph.node[-6:]}
    for name, method in (("min-max", "MinMax"), ("percentile", "Percentile")):
        path = folder / f"{method}.onnx"
        with contextlib.redirect_stdout(io.StringIO()):
            quantization.quantize_static(
                str(plain),
                str(path),
                Reader(pixels),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod[method],
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=sorted(answers),
            )
        yield f"int8, {name}", path


def run(path: Path, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Logits of all images, and milliseconds an image on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    logits, took = [], []
    for image in pixels:
        ready = image[None].astype(np.float32)
        started = time.perf_counter()
        logits.append(session.run([onnx_file.OUTPUTS[0]], {onnx_file.INPUT: ready})[0][0])
        took.append(time.perf_counter() - started)
    return np.stack(logits), 1000 * statistics.median(took)


def main() -> None:
    """Print one line a variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    words = parser.parse_args()
    stored = ModelFiles.find(words.model)
    size = Card.read(stored.card).input_size
    table: Any = manifest.usable(manifest.read(words.data))
    parts = {split: table[table["split"] == split] for split in ("validation", "test")}
    some = parts["validation"].sample(CALIBRATION, random_state=0)
    calibration = np.stack([images.load(locator, size) for locator in some["path"]])
    pixels = np.stack([images.load(locator, size) for locator in parts["test"]["path"]])
    truth = manifest.targets(parts["test"], TARGETS)
    exact: list[float] = []
    print(f"{'':18} {'ms an image':>12}" + "".join(f"{f'{name} ROC-AUC':>24}" for name in TARGETS))
    with tempfile.TemporaryDirectory() as folder:
        for name, variant in variants(stored.onnx, Path(folder), calibration):
            logits, milliseconds = run(variant, pixels)
            known = [~np.isnan(truth[:, i]) for i in range(len(TARGETS))]
            scores = [float(roc_auc_score(truth[k, i], logits[k, i])) for i, k in enumerate(known)]
            exact = exact or scores
            cells = (f"{new:15.4f} ({new - old:+.4f})" for new, old in zip(scores, exact, strict=True))
            print(f"{name:18} {milliseconds:12.2f}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()

"""A model with random weights, for benchmarks: its speed and its structure are those of a trained one."""

from pathlib import Path

from melascope.files import sha256
from melascope.infer import conversion
from melascope.labels import TARGETS
from melascope.model.card import Card
from melascope.model.decision import Calibration, OperatingPoint
from melascope.model.folder import ModelFiles


def make_model(folder: Path, backbone: str, size: int) -> Path:
    """Write `BACKBONE.keras`, its card and its ONNX file; return the first."""
    from melascope.learn import network  # noqa: PLC0415  # a benchmark that only loads the model must not hold Keras

    stored = ModelFiles.of(folder, backbone)
    net = network.build(backbone, size, None, 0.2)
    net.save(stored.keras)
    Card(
        name="random",
        architecture=backbone,
        weights="none",
        parameters=net.count_params(),
        input_size=size,
        calibration=dict.fromkeys(TARGETS, Calibration("temperature")),
        operating_points=dict.fromkeys(TARGETS, (OperatingPoint(0.95, 0.5, held=False),)),
        sensitivity=0.95,
        keras_sha256=sha256(stored.keras),
    ).write(stored.card)
    conversion.to_onnx(stored.keras, stored.onnx)
    return stored.keras

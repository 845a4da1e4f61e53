"""A model with random weights, for tools that measure: its speed and its structure are those of a trained one."""

from pathlib import Path

from melascope.files import sha256
from melascope.infer import conversion
from melascope.labels import TARGETS
from melascope.model.card import Card
from melascope.model.decision import Calibration, OperatingPoint


def make_model(folder: Path, backbone: str, size: int) -> Path:
    """Write `BACKBONE.keras`, its card, and what is converted from it; return the first."""
    from melascope.learn import network  # noqa: PLC0415  # who only reads the model must not hold Keras

    path = folder / f"{backbone}.keras"
    net = network.build(backbone, size, None, 0.2)
    net.save(path)
    Card(
        name="random",
        architecture=backbone,
        weights="none",
        parameters=net.count_params(),
        input_size=size,
        calibration=dict.fromkeys(TARGETS, Calibration("temperature")),
        operating_points=dict.fromkeys(TARGETS, (OperatingPoint(0.95, 0.5, held=False),)),
        sensitivity=0.95,
        keras_sha256=sha256(path),
    ).write(path.with_suffix(".json"))
    conversion.to_onnx(path, path.with_suffix(".onnx"))
    return path

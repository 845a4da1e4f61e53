"""From a `.keras` file to the ONNX file that inference runs: logits and class activation maps."""

import contextlib
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

from melascope import files
from melascope.errors import ModelError
from melascope.labels import TARGETS

INPUT, OUTPUTS = "image", ("logits", "cam")
HASH = "keras_sha256"  # the ONNX file's note of the .keras file that it was made from
_MAX_BYTES = 2**30  # of all members of a .keras file, unpacked; the largest backbones have 0.8 GB
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}


def to_onnx(keras_path: str | Path, onnx_path: str | Path) -> None:
    """Convert a model once; needs Keras, which nothing else in this room does.

    The file has the input `image` (N, S, S, 3), float32, RGB 0 to 255, and the outputs `logits` (N, 2) and
    `cam` (N, 2, h, w). For global average pooling and a linear head, Grad-CAM is the head-weighted sum of the
    last feature map up to a constant (Selvaraju et al. 2017), so one 1 x 1 convolution
    gives it, without gradient.

    Args:
        keras_path: a model made by `train`.
        onnx_path: where to write; replaced as a whole or not at all.

    Raises:
        ModelError: if the file is not such a model.
    """
    _inspect(keras_path)
    from melascope.learn.backend import keras

    try:
        network = keras.saving.load_model(keras_path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a file nobody vouches for makes Keras raise
        raise ModelError(f"{keras_path}: not a model Keras can load ({_one_line(error)})") from error
    graph = _with_map(network, keras_path)
    with files.replacing(onnx_path) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are fixed on purpose
        with contextlib.redirect_stdout(io.StringIO()):
            graph.export(str(beside), format="onnx", verbose=False)
        _name(beside, files.sha256(keras_path))


def _inspect(path: str | Path) -> None:
    """Look into the archive before Keras does."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename for info in archive.infolist()}
            size = sum(info.file_size for info in archive.infolist())
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model; give a .keras file, its stem, or a run folder") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: not a .keras file ({_one_line(error)})") from error
    if not names >= _MEMBERS:
        raise ModelError(f"{path}: not a .keras file (lacks {', '.join(sorted(_MEMBERS - names))})")
    if size > _MAX_BYTES:
        raise ModelError(f"{path}: unpacks to more than {_MAX_BYTES // 2**20} MiB, which no model here does")


def _with_map(network: Any, path: str | Path) -> Any:
    """The network with its outputs replaced by logits and class activation maps."""
    from melascope.learn.backend import keras

    try:
        pool, head = network.get_layer("pool"), network.get_layer("logits")
    except ValueError as error:
        raise ModelError(f"{path}: not made by `melascope train` (no layers `pool` and `logits`)") from error
    linear = isinstance(head, keras.layers.Dense) and head.activation is keras.activations.linear
    if not (isinstance(pool, keras.layers.GlobalAveragePooling2D) and linear and head.units == len(TARGETS)):
        raise ModelError(
            f"{path}: needs global average pooling and a linear head of {len(TARGETS)} outputs, "
            "without which no class activation map can be had"
        )
    project = keras.layers.Conv2D(head.units, 1, use_bias=False)
    cam = keras.layers.Permute((3, 1, 2))(project(pool.input))
    project.set_weights([head.get_weights()[0][None, None]])
    graph = keras.Model(network.inputs, [head.output, cam])
    _, height, width, channels = graph.inputs[0].shape
    if channels != 3 or height != width or height is None:
        raise ModelError(f"{path}: takes {graph.inputs[0].shape}, not square RGB images")
    graph(keras.ops.zeros((1, height, width, 3)))  # the exporter wants a model that was called
    return graph


def _name(path: Path, keras_sha256: str) -> None:
    """Give the outputs their names and the file its note."""
    import onnx

    model = onnx.load(path)
    for output, name in zip(model.graph.output, OUTPUTS, strict=True):
        for node in model.graph.node:
            node.input[:] = [name if old == output.name else old for old in node.input]
            node.output[:] = [name if old == output.name else old for old in node.output]
        output.name = name
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, {HASH: keras_sha256})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__

"""From a `.keras` file to the ONNX file that inference runs: logits and class activation maps."""

import contextlib
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from melascope import files
from melascope.errors import MelascopeError, ModelError
from melascope.labels import TARGETS

INPUT, OUTPUTS = "image", ("logits", "cam")
HASH = "keras_sha256"  # the ONNX file's note of the .keras file that it was made from
_MAX_BYTES = 2**30  # of all members of a .keras file, unpacked; the largest backbones have 0.8 GB
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_TOLERANCE = 1e-3  # of a logit, absolute and relative; summing float32 in another order costs less


def to_onnx(keras_path: str | Path, onnx_path: str | Path) -> None:
    """Convert a model once; needs Keras, which nothing else in this room does.

    The file has the input `image` (N, S, S, 3), float32, RGB 0 to 255, and the outputs `logits` (N, 2) and
    `cam` (N, 2, h, w). For global average pooling and a linear head, Grad-CAM is the head-weighted sum of the
    last feature map up to a constant (Selvaraju et al. 2017), so one 1 x 1 convolution gives it, without
    gradient. Before the file takes its place it is run, and must give the logits that Keras gives.

    Args:
        keras_path: a model made by `train`.
        onnx_path: where to write; replaced as a whole or not at all.

    Raises:
        ModelError: if the file is not such a model, or what converts it is not installed.
        DataError: if the folder cannot be written to.
    """
    _inspect(keras_path)
    try:
        import onnx  # noqa: F401  # looked for before the long part

        from melascope.learn.backend import keras
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{keras_path}: has no converted .onnx file yet, and converting needs the package {error.name}; "
            "pip install 'melascope[train]'"
        ) from error
    try:
        network = keras.saving.load_model(keras_path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a file nobody vouches for makes Keras raise
        raise ModelError(f"{keras_path}: not a model Keras can load ({_one_line(error)})") from error
    graph = _with_map(network, keras_path)
    with files.replacing(onnx_path) as beside:
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")  # the tracer warns of shapes that are fixed on purpose
                graph.export(str(beside), format="onnx", verbose=False)
            _name(beside, files.sha256(keras_path))
            _compare(graph, beside, keras_path)
        except (OSError, MelascopeError):
            raise
        except Exception as error:  # exporters have no common error
            raise ModelError(f"{keras_path}: cannot be converted to ONNX ({_one_line(error)})") from error


def _inspect(path: str | Path) -> None:
    """Look into the archive before Keras does."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename for info in archive.infolist()}
            size = sum(info.file_size for info in archive.infolist())
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model; give a .keras file, its stem, or a run folder") from error
    except Exception as error:  # zipfile has no common error for what a file can do to it
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
        (image,) = network.inputs
        feature = pool.input
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: not made by `melascope train` (no layers `pool` and `logits`)") from error
    linear = isinstance(head, keras.layers.Dense) and head.activation is keras.activations.linear
    if not (isinstance(pool, keras.layers.GlobalAveragePooling2D) and linear and head.units == len(TARGETS)):
        raise _no_map(path)
    if (
        len(image.shape) != 4
        or image.shape[3] != 3
        or image.shape[1] is None
        or image.shape[1] != image.shape[2]
    ):
        raise ModelError(f"{path}: takes {tuple(image.shape)}, not square RGB images")
    project = keras.layers.Conv2D(head.units, 1, use_bias=False)
    cam = keras.layers.Permute((3, 1, 2))(project(feature))
    kernel = head.get_weights()[0]
    if feature.shape[-1] != len(kernel):
        raise _no_map(path)
    project.set_weights([kernel[None, None]])
    graph = keras.Model(image, [head.output, cam])
    graph(keras.ops.zeros((1, *image.shape[1:])))  # the exporter wants a model that was called
    return graph


def _no_map(path: str | Path) -> ModelError:
    return ModelError(
        f"{path}: needs global average pooling and right on it a linear head of {len(TARGETS)} outputs, "
        "without which no class activation map can be had"
    )


def _name(path: Path, keras_sha256: str) -> None:
    """Give input and outputs their names and the file its note."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    names = dict(zip((v.name for v in (*graph.input, *graph.output)), (INPUT, *OUTPUTS), strict=True))
    taken = {value for node in graph.node for value in node.output}
    names |= {value: f"inner/{value}" for value in (INPUT, *OUTPUTS) if value in taken and value not in names}
    for node in graph.node:
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names.get(value, value) for value in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, {HASH: keras_sha256})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _compare(graph: Any, onnx_path: Path, keras_path: str | Path) -> None:
    """See that the converted file says what Keras says, for several images at once, and that its map is one."""
    from melascope.learn.backend import keras

    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (3, *graph.inputs[0].shape[1:])).astype(np.float32)
    expected = keras.ops.convert_to_numpy(graph(pixels, training=False)[0])
    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    logits, cam = session.run(list(OUTPUTS), {INPUT: pixels})
    if not np.allclose(logits, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ModelError(f"{keras_path}: its conversion to ONNX gives other logits than Keras does")
    # The mean of the map and the bias are the logit: so it is for pooling and a linear head, and else not.
    bias = logits - cam.mean(axis=(2, 3))
    if not np.allclose(bias, bias[:1], rtol=_TOLERANCE, atol=_TOLERANCE):
        raise _no_map(keras_path)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__

"""From a `.keras` file to the ONNX file that inference runs: logits and class activation maps."""

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from melascope import files
from melascope.errors import MelascopeError, ModelError, one_line
from melascope.labels import TARGETS
from melascope.model import onnx_file

_TOLERANCE = 1e-3  # of a logit, absolute and relative; summing float32 in another order costs less
_LIMIT_BYTES = 16 * 2**30  # of address space; PyTorch alone claims three GiB


def convert(keras_path: str | Path, onnx_path: str | Path) -> None:
    """Convert a model in this process, with Keras on PyTorch.

    The file has the input `image` (N, S, S, 3), float32, RGB 0 to 255, and the outputs `logits` (N, 2), `cam`
    (N, 2, h, w), and `views` (N, features), the features of the gate. For global average pooling and a linear head,
    Grad-CAM is the head-weighted sum of the last feature map up to a constant (Selvaraju et al. 2017), so one 1 x 1
    convolution gives it, without gradient. Before the file is written, it must give the logits that Keras gives.

    Raises:
        ModelError: if the file is not such a model, or a package for conversion is not installed.
    """
    try:
        import onnx  # noqa: F401  # a missing package is reported before the long part
        import onnxscript  # noqa: F401

        from melascope.learn import export, network
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{keras_path}: has no converted .onnx file yet, and converting needs the package {error.name}; "
            "pip install 'melascope[train]'"
        ) from error
    whole = network.load(keras_path)
    try:
        with tempfile.TemporaryDirectory() as folder:
            mapped = export.fold(_with_map(whole, keras_path))
            exported = Path(folder) / "exported.onnx"
            export.write_onnx(mapped, exported)
            _tidy(exported)
            content = _finish(exported, mapped, files.sha256(keras_path))
        _compare(whole, content, keras_path)
        Path(onnx_path).write_bytes(content)
    except (OSError, MelascopeError):
        raise
    except Exception as error:  # exporters have no common error
        raise ModelError(f"{keras_path}: cannot be converted to ONNX ({one_line(error)})") from error


def _with_map(network: Any, path: str | Path) -> Any:
    """The network with its outputs replaced by logits, class activation maps and the features of the gate."""
    from melascope.learn.backend import keras
    from melascope.learn.network import gate_features

    try:
        pool, head = network.get_layer("pool"), network.get_layer("logits")
        (image,) = network.inputs
        feature = pool.input
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: not made by `melascope train` (no layers `pool` and `logits`)") from error
    linear = isinstance(head, keras.layers.Dense) and head.activation is keras.activations.linear
    if not (isinstance(pool, keras.layers.GlobalAveragePooling2D) and linear and head.units == len(TARGETS)):
        raise _no_map(path)
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[3] != 3 or shape[1] is None or shape[1] != shape[2]:
        raise ModelError(f"{path}: takes {shape}, not square RGB images")
    project = keras.layers.Conv2D(head.units, 1, use_bias=False, name="melascope_map")
    cam = keras.layers.Permute((3, 1, 2), name="melascope_cam")(project(feature))
    kernel = head.get_weights()[0]
    if feature.shape[-1] != len(kernel):
        raise _no_map(path)
    project.set_weights([kernel[None, None]])
    return keras.Model(image, [head.output, cam, gate_features(network).output])


def _no_map(path: str | Path) -> ModelError:
    return ModelError(
        f"{path}: needs global average pooling and right on it a linear head of {len(TARGETS)} outputs, "
        "or there is no class activation map"
    )


def _tidy(path: Path) -> None:
    """Drop the exporter's detours, in place."""
    # ONNX Runtime's first level keeps to plain ONNX on every machine. It moves transpositions out of the way, so that
    # a session can fuse activations into convolutions when it starts.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _finish(path: Path, network: Any, keras_sha256: str) -> bytes:
    """Name the input and the outputs, and write hashes and shapes into the file."""
    import onnx

    model = onnx.load(path)
    plain = model.graph
    names = dict(
        zip(
            (v.name for v in (*plain.input, *plain.output)),
            (onnx_file.INPUT, *onnx_file.OUTPUTS),
            strict=True,
        )
    )
    taken = {value for node in plain.node for value in node.output}
    names |= {
        value: f"inner/{value}"
        for value in (onnx_file.INPUT, *onnx_file.OUTPUTS)
        if value in taken and value not in names
    }
    for node in plain.node:
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names.get(value, value) for value in node.output]
    for value, tensor in zip((*plain.input, *plain.output), (*network.inputs, *network.outputs), strict=True):
        value.name = names[value.name]
        shape = ["batch", *tensor.shape[1:]]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
    del plain.value_info[:]
    for other in [item for item in model.opset_import if item.domain not in ("", "ai.onnx")]:
        model.opset_import.remove(other)
    onnx.checker.check_model(model)
    content = onnx_file.inspect(model.SerializeToString(), path.name).sha256
    onnx.helper.set_model_props(model, {onnx_file.SOURCE: keras_sha256, onnx_file.CONTENT: content})
    data: bytes = model.SerializeToString()
    return data


def _compare(network: Any, content: bytes, keras_path: str | Path) -> None:
    """Check that the converted file gives the logits of Keras, for several images at once, and a true map."""
    from melascope.learn.backend import keras
    from melascope.learn.network import truncated_at

    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (3, *network.inputs[0].shape[1:])).astype(np.float32)
    expected = keras.ops.convert_to_numpy(truncated_at(network, "logits")(pixels, training=False))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits, cam, _ = session.run(list(onnx_file.OUTPUTS), {onnx_file.INPUT: pixels})
    if not np.allclose(logits, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ModelError(f"{keras_path}: its conversion to ONNX gives other logits than Keras does")
    # With pooling and a linear head, and only then, the mean of the map plus the bias is the logit.
    bias = logits - cam.mean(axis=(2, 3))
    if not np.allclose(bias, bias[:1], rtol=_TOLERANCE, atol=_TOLERANCE):
        raise _no_map(keras_path)


def _main(keras_path: str, onnx_path: str) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows, not above a lower limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_BYTES, _LIMIT_BYTES))
    try:
        convert(keras_path, onnx_path)
    except MelascopeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""From a `.keras` file to the ONNX file that inference runs: logits and class activation maps."""

import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from melascope import files
from melascope.errors import MelascopeError, ModelError, one_line
from melascope.labels import TARGETS
from melascope.learn import network
from melascope.learn.backend import keras
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
        ModelError: if the file is not such a model.
    """
    whole = network.load(keras_path)
    try:
        with tempfile.TemporaryDirectory() as folder:
            mapped = _fold(_with_map(whole, keras_path))
            exported = Path(folder) / "exported.onnx"
            _write_onnx(mapped, exported)
            _tidy(exported)
            content = _finish(exported, mapped, files.sha256(keras_path))
        _compare(whole, content, keras_path)
        Path(onnx_path).write_bytes(content)
    except (OSError, MelascopeError):
        raise
    except Exception as error:  # exporters have no common error
        raise ModelError(f"{keras_path}: cannot be converted to ONNX ({one_line(error)})") from error


def _with_map(net: Any, path: str | Path) -> Any:
    """The network with its outputs replaced by logits, class activation maps and the features of the gate."""
    try:
        pool, head = net.get_layer("pool"), net.get_layer("logits")
        (image,) = net.inputs
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
    return keras.Model(image, [head.output, cam, network.gate_features(net).output])


def _no_map(path: str | Path) -> ModelError:
    return ModelError(
        f"{path}: needs global average pooling and right on it a linear head of {len(TARGETS)} outputs, "
        "or there is no class activation map"
    )


def _fold(net: Any) -> Any:
    """Copy a network for inference, without the batch normalisations that follow a convolution.

    At inference, batch normalisation is a scale and a shift of each channel, and so can be part of the
    convolution's kernel and bias (Jacob et al. 2018, section 3.2).

    Args:
        net: a flat, functional `keras.Model`.

    Returns:
        A network with the same names, inputs and outputs. Its weights are copies.
    """
    convolutions = {}
    for layer in net.layers:
        before = _foldable(layer)
        if before is not None:
            convolutions[before.name] = layer
    gone = {layer.name for layer in convolutions.values()}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in gone else layer(*inputs, **options)

    folded = keras.models.clone_model(net, clone_function=clone, call_function=call)
    for layer in net.layers:
        if layer.name in convolutions:
            folded.get_layer(layer.name).set_weights(_folded_weights(layer, convolutions[layer.name]))
        elif layer.name not in gone:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _foldable(layer: Any) -> Any:
    """The convolution that a batch normalisation can become part of, or None."""
    layers = keras.layers
    if not isinstance(layer, layers.BatchNormalization) or layer.axis not in (-1, 3):
        return None
    before = layer.input._keras_history.operation
    if type(before) not in (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D):
        return None
    alone = len(before._outbound_nodes) == 1 and len(before._inbound_nodes) == 1
    linear = before.activation is keras.activations.linear
    return before if alone and linear else None


def _folded_weights(convolution: Any, normalisation: Any) -> list[Any]:
    def values(weight: Any) -> Any:
        return np.asarray(keras.ops.convert_to_numpy(weight), dtype=np.float64)

    *first, kernel = (
        values(weight) for weight in convolution.weights[: -1 if convolution.use_bias else None]
    )
    bias = values(convolution.bias) if convolution.use_bias else 0.0
    scale = 1 / np.sqrt(values(normalisation.moving_variance) + normalisation.epsilon)
    if normalisation.scale:
        scale *= values(normalisation.gamma)
    shift = (bias - values(normalisation.moving_mean)) * scale
    if normalisation.center:
        shift += values(normalisation.beta)
    # A depthwise kernel ends in (channels, multiplier), another in (.., outputs).
    channels = kernel.shape[2:] if isinstance(convolution, keras.layers.DepthwiseConv2D) else (-1,)
    return [*map(np.float32, first), np.float32(kernel * scale.reshape(channels)), np.float32(shift)]


def _write_onnx(net: Any, path: Path) -> None:
    """Write a network as ONNX for any batch size; Keras must run on PyTorch, where it is a PyTorch module."""
    sample = torch.zeros((2, *net.inputs[0].shape[1:]))
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter reports its progress and its own deprecations
        program = torch.onnx.export(
            net.eval(), (sample,), dynamo=True, dynamic_shapes={"args": ({0: batch},)}, verbose=False
        )
        assert program is not None  # noqa: S101  # this exporter always gives one
        program.save(path)


def _tidy(path: Path) -> None:
    """Drop the exporter's detours, in place."""
    # ONNX Runtime's first level keeps to plain ONNX on every machine. It moves transpositions out of the way, so that
    # a session can fuse activations into convolutions when it starts.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _finish(path: Path, net: Any, keras_sha256: str) -> bytes:
    """Name the input and the outputs, and write hashes and shapes into the file."""
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
    for value, tensor in zip((*plain.input, *plain.output), (*net.inputs, *net.outputs), strict=True):
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


def _compare(net: Any, content: bytes, keras_path: str | Path) -> None:
    """Check that the converted file gives the logits of Keras, for several images at once, and a true map."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (3, *net.inputs[0].shape[1:])).astype(np.float32)
    expected = keras.ops.convert_to_numpy(network.truncated_at(net, "logits")(pixels, training=False))
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

"""Fold a trained network into fewer operations and write it as ONNX."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from melascope.learn.backend import keras


def fold(network: Any) -> Any:
    """Copy a network for inference, without the batch normalisations that follow a convolution.

    At inference, batch normalisation is a scale and a shift of each channel, and so can be part of the
    convolution's kernel and bias (Jacob et al. 2018, section 3.2).

    Args:
        network: a flat, functional `keras.Model`.

    Returns:
        A network with the same names, inputs and outputs. Its weights are copies.
    """
    convolutions = {}
    for layer in network.layers:
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

    folded = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for layer in network.layers:
        if layer.name in convolutions:
            folded.get_layer(layer.name).set_weights(_folded_weights(layer, convolutions[layer.name]))
        elif layer.name not in gone:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def write_onnx(network: Any, path: Path) -> None:
    """Write a network as ONNX for any batch size; Keras must run on PyTorch, where it is a PyTorch module."""
    import torch

    sample = torch.zeros((2, *network.inputs[0].shape[1:]))
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter reports its progress and its own deprecations
        program = torch.onnx.export(
            network.eval(), (sample,), dynamo=True, dynamic_shapes={"args": ({0: batch},)}, verbose=False
        )
        assert program is not None  # noqa: S101  # this exporter always gives one
        program.save(path)


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

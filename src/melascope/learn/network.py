"""The network: one flat functional graph from pixels to two probabilities.

    image (N, S, S, 3), RGB 0..255 -> scaling -> backbone -> pool -> dropout -> logits -> probability (N, 2)

Global average pooling and a linear head on purpose: the class activation map is then a weighted sum of the
last feature map (Zhou et al. 2016; equal to Grad-CAM, Selvaraju et al. 2017), which inference gets for free.
"""

from pathlib import Path
from typing import Any

import numpy as np

from melascope.errors import ModelError, one_line
from melascope.labels import TARGETS
from melascope.learn import backbones
from melascope.learn.backend import keras
from melascope.model import keras_file

_MAX_SIDES = 3
_MAX_PER_SIDE = 3  # activations
_MIN_SIDE = 3  # places to a side, for one of them to be the middle


def build(backbone: str, size: int, weights: str | None, dropout: float) -> Any:
    """Build a network, its backbone loaded with `weights` and its head at zero.

    Args:
        backbone: a function of `keras.applications`, such as `EfficientNetB0`.
        size: side of the square input in pixels.
        weights: `imagenet` (downloaded by Keras), None for random weights, the path of a `.weights.h5` file
            of the backbone without its top, or of a `.keras` file whose layers have the same names.
        dropout: rate before the head, 0 to 1.

    Returns:
        A `keras.Model` whose output is the probability of each of `TARGETS`, shape (N, 2).

    Raises:
        ModelError: if backbone, size or weights do not fit together.
    """
    image = keras.Input((size, size, 3), name="image", dtype="float32")
    scaling = backbones.scaling(backbone)
    pixels = image
    if scaling is not None:
        pixels = keras.layers.Rescaling(scaling.scale, scaling.offset, name="scaling")(image)
    base = backbones.make(backbone, pixels)
    if weights is not None:
        _load(base, backbone, weights)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    dropped = keras.layers.Dropout(dropout, name="dropout")(pooled)
    logits = keras.layers.Dense(len(TARGETS), kernel_initializer="zeros", name="logits")(dropped)
    probability = keras.layers.Activation("sigmoid", name="probability")(logits)
    return keras.Model(image, probability, name=backbone)


def load(path: str | Path) -> Any:
    """Load a `.keras` file that may come from anywhere.

    Raises:
        ModelError: if it holds anything but a network of Keras's own layers and its weights, or Keras cannot
            load it.
    """
    keras_file.inspect(path)
    keras_file.inspect_weights(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # an untrusted file can make Keras raise anything
        raise ModelError(f"{path}: not a model Keras can load ({one_line(error)})") from error


def truncated_at(network: Any, layer: str) -> Any:
    """The same network, sharing its weights, that ends at a layer: `pool` or `logits`."""
    return keras.Model(network.input, network.get_layer(layer).output)


def gate_features(network: Any) -> Any:
    """The same network, sharing its weights, that ends at the features of the gate, shape (N, features).

    These describe activations at twice, four and eight times the side of the final ones, where textures still show:
    their mean, the difference between the middle and this mean, and their standard deviation over places.
    """
    # All layers are named, because a name that Keras chooses may be taken by a layer of the network.
    layers = keras.layers
    means, middles, squares = [], [], []
    for i, stage in enumerate(_stages(network)):
        side = stage.shape[1]
        rim = max(1, side * 3 // 10) if side >= _MIN_SIDE else 0
        square = layers.Multiply(name=f"views_square_{i}")([stage, stage])
        means.append(layers.AveragePooling2D(side, name=f"views_mean_{i}")(stage))
        squares.append(layers.AveragePooling2D(side, name=f"views_power_{i}")(square))
        # The second of three places either way. Cropping would first have to copy the activations.
        middle = layers.AveragePooling2D(side - 2 * rim, strides=max(1, rim), name=f"views_thirds_{i}")(stage)
        middles.append(middle)

    def row(parts: list[Any], name: str) -> Any:
        whole = layers.Concatenate(name=f"views_{name}_all")(parts)
        if whole.shape[1] == 3:
            whole = layers.Cropping2D(1, name=f"views_{name}_cut")(whole)
        return layers.Flatten(name=f"views_{name}")(whole)

    mean = row(means, "mean")
    contrast = layers.Subtract(name="views_contrast")([row(middles, "middle"), mean])
    level = layers.Multiply(name="views_level")([mean, mean])
    variance = layers.Subtract(name="views_variance")([row(squares, "power"), level])
    spread = keras.ops.sqrt(layers.ReLU(name="views_positive")(variance))
    return keras.Model(network.input, layers.Concatenate(name="views")([mean, contrast, spread]))


def _stages(network: Any) -> list[Any]:
    """Activations half-way: up to `_MAX_PER_SIDE` of each of `_MAX_SIDES` sides, evenly spread from first to last."""
    final = network.get_layer("pool").input
    last = final.shape[1]
    by_side: dict[int, list[Any]] = {}
    for layer in backbone_layers(network):
        shape = tuple(layer.output.shape)
        if len(shape) == 4 and shape[1] == shape[2] and _is_activation(layer):
            by_side.setdefault(shape[1], []).append(layer.output)
    sides = sorted(side for side in by_side if side >= max(_MIN_SIDE, 1.5 * last))[:_MAX_SIDES]
    stages = [] if sides else [final]
    for side in sides:
        outputs = by_side[side]
        chosen = np.unique(np.linspace(0, len(outputs) - 1, _MAX_PER_SIDE).round().astype(int))
        stages += [outputs[i] for i in chosen]
    return stages


def _is_activation(layer: Any) -> bool:
    """Whether a layer is an activation, or ends in one; folding leaves these as they are."""
    own = getattr(layer, "activation", keras.activations.linear)
    return isinstance(layer, keras.layers.ReLU) or own is not keras.activations.linear


def with_family(network: Any, families: int) -> Any:
    """The same network, sharing its weights, with the logits of the diagnosis family after those of the targets.

    The second head is there during training only. It asks for features that separate a carcinoma from a keratosis,
    which the targets alone do not need.
    """
    features = network.get_layer("dropout").output
    family = keras.layers.Dense(families, kernel_initializer="zeros", name="family")(features)
    logits = keras.layers.Concatenate(name="all_logits")([network.get_layer("logits").output, family])
    return keras.Model(network.input, logits)


def backbone_layers(network: Any) -> list[Any]:
    """The layers before the head."""
    names = [layer.name for layer in network.layers]
    return list(network.layers[: names.index("pool")])


def _load(base: Any, backbone: str, weights: str) -> None:
    try:
        if weights == "imagenet":
            # Built a second time so that Keras chooses and checks the file; copied layer by layer because
            # ours may have one scaling layer more.
            source = getattr(keras.applications, backbone)(include_top=False, weights="imagenet")
            base.set_weights(source.get_weights())
        elif not Path(weights).is_file():
            raise ModelError(f"{weights}: no such weights file; give a file, `imagenet` or `none`")
        elif weights.endswith(".keras"):
            values = {layer.name: layer.get_weights() for layer in load(weights).layers}
            for layer in base.layers:
                layer.set_weights(values[layer.name])
        else:
            base.load_weights(weights)
    except ModelError:
        raise
    except Exception as error:  # Keras raises bare Exception when a download fails
        where = "could not be downloaded" if weights == "imagenet" else f"do not fit {backbone}"
        reason = one_line(error)
        raise ModelError(f"{weights}: these weights {where} ({reason}); give a file, or none") from error

"""The convolutional networks that a model can be built on, and what each expects of its pixels.

A backbone is a function of `keras.applications`. Families differ in one thing that matters here: whether the network
scales 0..255 pixels itself. A missing family is one more line of `_SCALING`; a network of your own is registered by
`add`.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from melascope.errors import ModelError
from melascope.learn.backend import keras

EXAMPLES = ("EfficientNetB0", "EfficientNetV2B0", "MobileNetV2")


class Scaling(NamedTuple):
    """Scaling of pixels 0..255 before the network: pixel * scale + offset."""

    scale: float
    offset: float


_MINUS_ONE_TO_ONE = Scaling(1 / 127.5, -1.0)
_INSIDE = None  # the network begins with its own rescaling; scaling twice ruins it silently

_SCALING: dict[str, Scaling | None] = {
    "EfficientNetV2": _INSIDE,
    "EfficientNet": _INSIDE,
    "ConvNeXt": _INSIDE,
    "MobileNetV3": _INSIDE,
    "MobileNet": _MINUS_ONE_TO_ONE,
    "InceptionResNetV2": _MINUS_ONE_TO_ONE,
    "InceptionV3": _MINUS_ONE_TO_ONE,
    "Xception": _MINUS_ONE_TO_ONE,
    "ResNet50V2": _MINUS_ONE_TO_ONE,
    "ResNet101V2": _MINUS_ONE_TO_ONE,
    "ResNet152V2": _MINUS_ONE_TO_ONE,
}


_OWN: dict[str, Callable[..., Any]] = {}


def add(name: str, function: Callable[..., Any], scaling: Scaling | None) -> None:
    """Register a network that `keras.applications` does not have, in this process.

    Args:
        name: of the backbone, as in `Settings.backbone`.
        function: called as those of `keras.applications` are, with `include_top=False`, `weights=None`,
            `pooling=None` and the pixels as `input_tensor`; gives a flat `keras.Model` that ends in a feature map and
            is made of Keras's own layers.
        scaling: of pixels 0..255 before it; None if it scales them itself.
    """
    _OWN[name] = function
    _SCALING[name] = scaling


def scaling(name: str) -> Scaling | None:
    """The scaling a backbone needs in front of it; None if it scales by itself.

    Raises:
        ModelError: if the family is not known here. VGG, the first ResNets and DenseNet are left out on purpose: they
            need BGR or constants for each channel, and newer families are better.
    """
    families = [family for family in _SCALING if name.startswith(family)]
    if not families:
        raise ModelError(
            f"{name}: not a backbone Melascope knows; choose from {', '.join(EXAMPLES)} and relatives"
        )
    return _SCALING[max(families, key=len)]


def make(name: str, inputs: Any) -> Any:
    """Build a backbone with random weights on a Keras tensor of pixels as `scaling` gives them.

    Args:
        name: a function of `keras.applications`, such as `EfficientNetB0`, or a registered name.
        inputs: a Keras tensor, shape (N, size, size, 3).

    Returns:
        A flat `keras.Model` without its classification head.

    Raises:
        ModelError: if there is no such backbone.
    """
    function = _OWN.get(name) or getattr(keras.applications, name, None)
    if not callable(function):
        raise ModelError(f"{name}: keras.applications has no such network; choose from {', '.join(EXAMPLES)}")
    options = {"include_top": False, "weights": None, "input_tensor": inputs, "pooling": None}
    if "include_preprocessing" in inspect.signature(function).parameters:
        options["include_preprocessing"] = True
    try:
        return function(**options)
    except ValueError as error:
        raise ModelError(f"{name} cannot take images of this size ({error})") from error

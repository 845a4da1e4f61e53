"""Inspect an untrusted `.keras` file before Keras loads it: loading can run code.

A `.keras` file is a ZIP of a graph in JSON, which names the classes to make, and of weights in HDF5. Keras's safe
mode refuses what it knows to be dangerous. Here, only the classes of networks of `keras.applications` are let through.
"""

import json
import math
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.errors import ModelError, one_line

MAX_BYTES = 2**30  # of a model, unpacked; the largest backbones have 0.8 GB
_MAX_CONFIG = 16 * 2**20  # bytes of JSON; the longest graphs have 0.5 MB
_MAX_NUMBER = 2**16  # of a size in a graph; larger ones ask for memory, not for a network
_NOT_SIZES = ("seed", "shared_object_id")  # keys whose numbers may be large
_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
_WEIGHTS = _MEMBERS[2]

_LAYERS = (
    "Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D", "Dense",
    "DepthwiseConv2D", "Dropout", "Flatten", "GlobalAveragePooling2D", "InputLayer", "LayerNormalization",
    "MaxPooling2D", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "ZeroPadding2D",
)  # fmt: skip
_INITIALIZERS = ("GlorotUniform", "HeNormal", "Ones", "RandomNormal", "VarianceScaling", "Zeros")
_ALLOWED = {
    *(("keras.layers", name) for name in _LAYERS),
    *(("keras.initializers", name) for name in _INITIALIZERS),
    ("keras", "DTypePolicy"),
    ("keras", "Functional"),
    ("keras", "Sequential"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.ops.numpy", "Add"),  # operators between layers
    ("keras.src.ops.numpy", "Multiply"),
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
}
_TENSOR = "__keras_tensor__"  # how a graph writes down which layer feeds which


@dataclass(frozen=True)
class Contents:
    """What the JSON of a `.keras` file describes."""

    layers: Counter[str]
    """How many layers there are of each class."""
    inputs: dict[str, list[int | None]]
    """Shape of each input, the first entry for the batch."""
    outputs: list[str]
    """Names of the layers whose output the network gives."""
    keras_version: str


def inspect(path: str | Path) -> Contents:
    """Describe a `.keras` file's graph, and refuse all that a network does not need; loads no framework.

    Raises:
        ModelError: for what is not a `.keras` file, unpacks to more than `MAX_BYTES`, holds anything but a
            graph and its weights, or names a class that is not one of Keras's own layers for images
            (such as `Lambda` and `TFSMLayer`, which run code).
    """
    metadata, config = _documents(path)
    try:
        for item in _walk(config):
            _check(item, path)
        layers = config["config"]["layers"]
        return Contents(
            layers=Counter(layer["class_name"] for layer in layers),
            inputs={
                layer["config"]["name"]: list(layer["config"]["batch_shape"])
                for layer in layers
                if layer["class_name"] == "InputLayer"
            },
            outputs=_outputs(config["config"].get("output_layers", [])),
            keras_version=str(metadata["keras_version"]),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{path}: its graph is not one that Keras writes ({one_line(error)})") from error


def inspect_weights(path: str | Path) -> None:
    """Refuse weights that point out of their file or unpack to too much; needs h5py.

    Raises:
        ModelError: for what is not HDF5, for links to other places or files, for data that is not plain
            numbers, and for more than `MAX_BYTES` of it.
    """
    import h5py

    try:
        with zipfile.ZipFile(path) as archive, archive.open(_WEIGHTS) as raw, h5py.File(raw, "r") as file:
            size = 0
            for name, dataset in _datasets(file, path):
                if dataset.is_virtual or dataset.external or dataset.dtype.kind not in "fiu":
                    raise ModelError(f"{path}: its weights hold {name}, which is not plain numbers")
                size += math.prod(dataset.shape) * dataset.dtype.itemsize
                if size > MAX_BYTES:
                    raise ModelError(f"{path}: its weights unpack to more than {MAX_BYTES // 2**20} MiB")
    except ModelError:
        raise
    except Exception as error:  # damaged HDF5 makes its library raise nearly every type
        raise ModelError(f"{path}: its weights cannot be read ({one_line(error)})") from error


def _documents(path: str | Path) -> tuple[Any, Any]:
    """The JSON of a file whose members are those of a model: metadata and graph."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            metadata, config = (json.loads(archive.read(name)) for name in _MEMBERS[:2])
            return metadata, config
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except Exception as error:  # a malformed file makes zipfile and json raise nearly every type
        raise ModelError(f"{path}: not a .keras file ({one_line(error)})") from error


def _check_members(archive: zipfile.ZipFile, path: str | Path) -> None:
    names = sorted(item.filename for item in archive.infolist())
    missing = sorted(set(_MEMBERS) - set(names))
    if missing:
        raise ModelError(f"{path}: not a .keras file (lacks {', '.join(missing)})")
    if names != sorted(_MEMBERS):
        extra = next(name for name in names if name not in _MEMBERS or names.count(name) > 1)
        raise ModelError(f"{path}: holds {extra[:80]!r} too, which no model needs")
    for item in archive.infolist():
        if item.flag_bits & 1:
            raise ModelError(f"{path}: {item.filename} is encrypted")
        # zipfile unpacks no more than a member claims, so claims can be relied on.
        if item.file_size > (MAX_BYTES if item.filename == _WEIGHTS else _MAX_CONFIG):
            raise ModelError(f"{path}: {item.filename} unpacks to {item.file_size // 2**20} MiB, too much")


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a JSON document with the key it stands under."""
    todo = [(key, value)]
    while todo:
        key, value = todo.pop()
        yield key, value
        if isinstance(value, dict):
            todo.extend(value.items())
        elif isinstance(value, list):
            todo.extend((key, item) for item in value)


def _check(item: tuple[str, Any], path: str | Path) -> None:
    key, value = item
    if isinstance(value, dict) and "class_name" in value and value["class_name"] != _TENSOR:
        name, module = value["class_name"], value.get("module")
        known = (module, name) in _ALLOWED and value.get("registered_name") in (None, name)
        if not known:
            raise ModelError(
                f"{path}: uses {module}.{name}, which is not one of the layers that are loaded from an untrusted file"
            )
    elif isinstance(value, int) and abs(value) > _MAX_NUMBER and key not in _NOT_SIZES:
        raise ModelError(f"{path}: asks for {key} = {value}, more than any network here has")


def _outputs(layers: Any) -> list[str]:
    """Names in `["a", 0, 0]` or `[["a", 0, 0], ["b", 0, 0]]`: Keras writes one output without its list."""
    if layers and isinstance(layers[0], str):
        return [layers[0]]
    return [str(layer[0]) for layer in layers]


def _datasets(file: Any, path: str | Path) -> Iterator[tuple[str, Any]]:
    """Every dataset of an HDF5 file, each once; links may form circles."""
    import h5py

    todo, seen = [file], set()
    while todo:
        group = todo.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"{path}: its weights hold {name!r}, a link to another place")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                todo.append(item)
            else:
                yield item.name, item

"""Looking into an `.onnx` file before ONNX Runtime does, without a library: it is read at every start.

An ONNX file is a protocol buffer (onnx.proto, version 3 of its syntax). A buffer is a row of fields, each a number, a
wire type and a value; a message within a message is a value of bytes. So a file can be walked without
its schema, and its tensors skipped, in a few milliseconds.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from melascope import files
from melascope.errors import ImageError, ModelError, one_line
from melascope.model.keras_file import MAX_BYTES

INPUT, OUTPUTS = "image", ("logits", "cam", "views")  # of a converted model
SOURCE = "keras_sha256"  # its note of the .keras file that it was made from
CONTENT = "graph_sha256"  # its note of its own graph and weights, so that a damaged file is noticed

# What networks of keras.applications are made of, once converted. No loops and no branches (Loop, If, Scan),
# nothing that makes tensors of any size out of nothing, nothing that only some builds of a runtime know.
_OPERATIONS = frozenset(
    [
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "Conv",
        "Div",
        "Gelu",
        "Gemm",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LayerNormalization",
        "MatMul",
        "MaxPool",
        "Mul",
        "Pad",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Sqrt",
        "Sub",
        "Tanh",
        "Transpose",
    ]
)
# Walking takes time by the field, so whoever writes millions of small ones could make it take minutes.
_MAX_FIELDS = 20_000  # of a message; the largest backbones have two thousand nodes and tensors
_MAX_TENSOR_FIELDS = 64
_MAX_SHAPE = 8
_MAX_GRAPH = 4 * 2**20  # of a graph without its tensors; the largest backbones have 0.3 MB
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}  # of TensorProto.DataType
_ELEMENTS = {1: "float32", 10: "float16", 11: "float64", 2: "uint8"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Graph:
    """What an ONNX file holds."""

    operations: Counter[str]
    inputs: dict[str, str]
    """Type and shape of each, such as `float32 (batch, 224, 224, 3)`."""
    outputs: dict[str, str]
    parameters: int
    """Numbers in all constant tensors."""
    notes: dict[str, str]
    sha256: str
    """Hash of the graph with its weights, without the notes."""


def read(path: Path) -> bytes:
    """Read a file of at most `MAX_BYTES`; ModelError if it is larger or cannot be read."""
    try:
        return files.read(str(path), MAX_BYTES)
    except ImageError as error:
        raise ModelError(str(error)) from error


def inspect(data: bytes, path: str | Path) -> Graph:
    """Walk a model and refuse what a converted network needs not have.

    Args:
        data: the file's bytes.
        path: what to call it in an error.

    Raises:
        ModelError: for what is not ONNX, for operations not in the list of those that images need, for other
            domains than ONNX's own, for functions, inner graphs, data in other files, and for tensors whose size
            is not what they say.
    """
    try:
        return _model(memoryview(data), path)
    except ModelError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(f"{path}: not an ONNX model ({one_line(error)})") from error


def _model(data: memoryview, path: str | Path) -> Graph:
    graphs, notes = [], {}
    for number, value in _fields(data):
        if number == 7:
            graphs.append(_bytes(value))
        elif number == 8:
            domain = "".join(_text(item) for key, item in _fields(_bytes(value)) if key == 1)
            _check_domain(domain, path)
        elif number == 14:
            entry = {key: _text(item) for key, item in _fields(_bytes(value))}
            notes[entry[1]] = entry[2]
        elif number in (20, 25):
            raise ModelError(f"{path}: holds functions of its own, which a converted network needs not have")
    if len(graphs) != 1:
        raise ModelError(f"{path}: not an ONNX model (it holds {len(graphs)} graphs)")
    return _graph(graphs[0], notes, path)


def _graph(data: memoryview, notes: dict[str, str], path: str | Path) -> Graph:
    operations: Counter[str] = Counter()
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    parameters = size = 0
    for number, value in _fields(data):
        if number == 5:
            parameters += _tensor(_bytes(value), path)
            continue
        size += len(_bytes(value))
        if size > _MAX_GRAPH:
            raise ModelError(f"{path}: its graph is larger than that of any network here")
        if number == 1:
            operations[_node(_bytes(value), path)] += 1
        elif number in (11, 12):
            name, kind = _value_info(_bytes(value))
            (inputs if number == 11 else outputs)[name] = kind
        elif number == 15:
            raise ModelError(f"{path}: holds sparse tensors, which a converted network needs not have")
    return Graph(operations, inputs, outputs, parameters, notes, hashlib.sha256(data).hexdigest())


def _node(data: memoryview, path: str | Path) -> str:
    operation = ""
    for number, value in _fields(data):
        if number == 4:
            operation = _text(value)
        elif number == 7:
            _check_domain(_text(value), path)
        elif number == 5:
            for key, item in _fields(_bytes(value)):
                if key in (6, 11, 22, 23):
                    raise ModelError(f"{path}: holds graphs within graphs, which no network here has")
                if key in (5, 10):
                    _tensor(_bytes(item), path)
    if operation not in _OPERATIONS:
        raise ModelError(f"{path}: uses {operation[:80]!r}, which no network here needs")
    return operation


def _check_domain(domain: str, path: str | Path) -> None:
    if domain not in ("", "ai.onnx"):
        raise ModelError(f"{path}: uses operations of {domain[:80]!r}, not of ONNX itself")


def _tensor(data: memoryview, path: str | Path) -> int:
    """Check one constant tensor; return how many numbers it holds."""
    shape: list[int] = []
    kind, raw, packed = 0, None, 0
    for number, value in _fields(data, _MAX_TENSOR_FIELDS):
        if number == 1:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif number == 2:
            kind = _int(value)
        elif number == 9:
            raw = len(_bytes(value))
        elif number in (4, 5, 7, 10, 11):
            packed += len(value) if isinstance(value, memoryview) else 1
        elif number == 13 or (number == 14 and value):
            raise ModelError(f"{path}: keeps weights in another file; a model here is one file")
    if len(shape) > _MAX_SHAPE:
        raise ModelError(f"{path}: holds a tensor of {len(shape)} dimensions")
    items = math.prod(shape)
    if kind not in _ITEM_BYTES or (raw is not None and raw != items * _ITEM_BYTES[kind]):
        raise ModelError(f"{path}: holds a tensor whose data is not what its shape says")
    if raw is None and items > packed:  # numbers of at least a byte each
        raise ModelError(f"{path}: holds a tensor of shape {shape} without its data")
    return items


def _value_info(data: memoryview) -> tuple[str, str]:
    """Name and type of an input or output."""
    name, kind, shape = "", "?", []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for _, tensor in (item for item in _fields(_bytes(value)) if item[0] == 1):
                for key, item in _fields(_bytes(tensor)):
                    if key == 1:
                        kind = _ELEMENTS.get(_int(item), "?")
                    elif key == 2:
                        shape = [_dimension(_bytes(part)) for _, part in _fields(_bytes(item))]
    return name, f"{kind} ({', '.join(shape)})"


def _dimension(data: memoryview) -> str:
    return (
        "".join(str(value) if isinstance(value, int) else _text(value) for _, value in _fields(data)) or "?"
    )


def _fields(data: memoryview, most: int = _MAX_FIELDS) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number, and a whole number or bytes."""
    at, end = 0, len(data)
    while at < end:
        most -= 1
        if most < 0:
            raise ValueError("more fields than any network here has")
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > end:
            raise ValueError("cut short")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {at}")


def _varints(data: memoryview) -> list[int]:
    """Packed numbers, of which only as many are read as matter."""
    values: list[int] = []
    at = 0
    while at < len(data) and len(values) <= _MAX_SHAPE:
        value, at = _varint(data, at)
        values.append(value)
    return values


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message should be")
    return value


def _int(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise TypeError("a message where a number should be")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")

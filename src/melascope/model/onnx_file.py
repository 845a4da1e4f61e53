"""Inspect an untrusted `.onnx` file before ONNX Runtime loads it, in a few milliseconds.

An ONNX file is a protocol buffer. The numbers of fields below are those of onnx.proto. Only what networks of
`keras.applications` become is let through.
"""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from melascope import files
from melascope.errors import ImageError, ModelError, one_line
from melascope.model.keras_file import MAX_BYTES
from melascope.model.protobuf import as_bytes, as_int, as_text, fields, varints

INPUT, OUTPUTS = "image", ("logits", "cam", "views")  # of a converted model
SOURCE = "keras_sha256"  # its note of the .keras file that it was made from
CONTENT = "graph_sha256"  # its note of its own graph and weights; a damaged file has another hash

# The operations of converted networks of keras.applications. Not among them: loops and branches (Loop, If, Scan),
# operations that make tensors of any size, and those that only some builds of a runtime have.
_OPERATIONS = frozenset((
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Div", "Gelu", "Gemm", "HardSigmoid", "HardSwish", "Identity",
    "LayerNormalization", "MatMul", "MaxPool", "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice",
    "Softmax", "Sqrt", "Sub", "Tanh", "Transpose",
))  # fmt: skip
_MAX_TENSOR_FIELDS = 64
_MAX_DIMENSIONS = 8
_MAX_GRAPH = 4 * 2**20  # of a graph without its tensors; the largest backbones have 0.3 MB
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}  # of TensorProto.DataType
_ELEMENTS = {1: "float32", 10: "float16", 11: "float64", 2: "uint8"}


@dataclass(frozen=True)
class Graph:
    """What an ONNX file holds."""

    operations: Counter[str]
    """How many nodes there are of each operation."""
    inputs: dict[str, str]
    """Type and shape of each, such as `float32 (batch, 224, 224, 3)`."""
    outputs: dict[str, str]
    parameters: int
    """Numbers in all constant tensors."""
    notes: dict[str, str]
    """Metadata of the file, by key."""
    sha256: str
    """Hash of the graph with its weights, without the notes."""


def read(path: Path) -> bytes:
    """Read a file of at most `MAX_BYTES`; ModelError if it is larger or cannot be read."""
    try:
        return files.read(str(path), MAX_BYTES)
    except ImageError as error:
        raise ModelError(str(error)) from error


def inspect(data: bytes, path: str | Path) -> Graph:
    """Describe a model, and refuse all that a converted network does not need.

    Args:
        data: the file's bytes.
        path: names the file in errors.

    Raises:
        ModelError: for what is not ONNX, for operations that networks for images do not need, for domains other than
            ONNX's own, for functions, inner graphs, data in other files, and for tensors whose data does not fit
            their shape.
    """
    try:
        return _model(memoryview(data), path)
    except ModelError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(f"{path}: not an ONNX model ({one_line(error)})") from error


def _model(data: memoryview, path: str | Path) -> Graph:
    graphs, notes = [], {}
    for number, value in fields(data):
        if number == 7:  # graph
            graphs.append(as_bytes(value))
        elif number == 8:  # opset_import
            domain = "".join(as_text(item) for key, item in fields(as_bytes(value)) if key == 1)
            _check_domain(domain, path)
        elif number == 14:  # metadata_props
            entry = {key: as_text(item) for key, item in fields(as_bytes(value))}
            notes[entry[1]] = entry[2]
        elif number in (20, 25):  # training_info, functions
            raise ModelError(f"{path}: holds functions of its own, which no converted network needs")
    if len(graphs) != 1:
        raise ModelError(f"{path}: not an ONNX model (it holds {len(graphs)} graphs)")
    return _graph(graphs[0], notes, path)


def _graph(data: memoryview, notes: dict[str, str], path: str | Path) -> Graph:
    operations: Counter[str] = Counter()
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    parameters = size = 0
    for number, value in fields(data):
        if number == 5:  # initializer
            parameters += _tensor(as_bytes(value), path)
            continue
        size += len(as_bytes(value))
        if size > _MAX_GRAPH:
            raise ModelError(f"{path}: its graph is larger than that of any network here")
        if number == 1:  # node
            operations[_node(as_bytes(value), path)] += 1
        elif number in (11, 12):  # input, output
            name, kind = _value_info(as_bytes(value))
            (inputs if number == 11 else outputs)[name] = kind
        elif number == 15:  # sparse_initializer
            raise ModelError(f"{path}: holds sparse tensors, which no converted network needs")
    return Graph(operations, inputs, outputs, parameters, notes, hashlib.sha256(data).hexdigest())


def _node(data: memoryview, path: str | Path) -> str:
    operation = ""
    for number, value in fields(data):
        if number == 4:  # op_type
            operation = as_text(value)
        elif number == 7:  # domain
            _check_domain(as_text(value), path)
        elif number == 5:  # attribute
            for key, item in fields(as_bytes(value)):
                if key in (6, 11, 22, 23):  # graphs and sparse tensors
                    raise ModelError(f"{path}: holds graphs within graphs, which no network here has")
                if key in (5, 10):  # tensors
                    _tensor(as_bytes(item), path)
    if operation not in _OPERATIONS:
        raise ModelError(f"{path}: uses {operation[:80]!r}, which no network here needs")
    return operation


def _check_domain(domain: str, path: str | Path) -> None:
    if domain not in ("", "ai.onnx"):
        raise ModelError(f"{path}: uses operations of {domain[:80]!r}, not of ONNX itself")


def _tensor(data: memoryview, path: str | Path) -> int:
    """Check a constant tensor; return how many numbers it holds."""
    shape: list[int] = []
    kind, raw, packed = 0, None, 0
    for number, value in fields(data, _MAX_TENSOR_FIELDS):
        if number == 1:  # dims
            shape += [value] if isinstance(value, int) else varints(value, _MAX_DIMENSIONS + 1)
        elif number == 2:  # data_type
            kind = as_int(value)
        elif number == 9:  # raw_data
            raw = len(as_bytes(value))
        elif number in (4, 5, 7, 10, 11):  # data of a type
            packed += len(value) if isinstance(value, memoryview) else 1
        elif number == 13 or (number == 14 and value):  # external_data, data_location
            raise ModelError(f"{path}: keeps weights in another file; a model here is one file")
    if len(shape) > _MAX_DIMENSIONS:
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
    for number, value in fields(data):
        if number == 1:  # name
            name = as_text(value)
        elif number == 2:  # type
            for _, tensor in (item for item in fields(as_bytes(value)) if item[0] == 1):
                for key, item in fields(as_bytes(tensor)):
                    if key == 1:  # elem_type
                        kind = _ELEMENTS.get(as_int(item), "?")
                    elif key == 2:  # shape
                        shape = [_dimension(as_bytes(part)) for _, part in fields(as_bytes(item))]
    return name, f"{kind} ({', '.join(shape)})"


def _dimension(data: memoryview) -> str:
    """Size or name of one dimension of a shape."""
    return "".join(str(v) if isinstance(v, int) else as_text(v) for _, v in fields(data)) or "?"

"""Inspection of an `.onnx` file before ONNX Runtime loads it, against the library that defines the format."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from melascope.errors import ModelError
from melascope.model import onnx_file


def test_a_model_is_described_as_by_the_onnx_library(tiny_model):
    data = tiny_model.with_suffix(".onnx").read_bytes()
    graph, expected = onnx_file.inspect(data, "tiny.onnx"), onnx.load_from_string(data)
    assert graph.operations == Counter(node.op_type for node in expected.graph.node)
    assert graph.parameters == sum(numpy_helper.to_array(item).size for item in expected.graph.initializer)
    assert graph.inputs == {"image": "float32 (batch, 48, 48, 3)"}
    assert graph.outputs == {
        "logits": "float32 (batch, 2)",
        "cam": "float32 (batch, 2, 5, 5)",
        "views": "float32 (batch, 24)",
    }
    assert graph.notes == {item.key: item.value for item in expected.metadata_props}
    assert graph.notes["graph_sha256"] == graph.sha256
    expected.graph.initializer[0].raw_data = bytes(len(expected.graph.initializer[0].raw_data))
    assert onnx_file.inspect(expected.SerializeToString(), "tiny.onnx").sha256 != graph.sha256


def model():
    """y = x + one, with the one as a constant."""
    shape = ["batch", 3]
    one = numpy_helper.from_array(np.ones(3, dtype=np.float32), "one")
    plain = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [one],
    )
    return helper.make_model(plain, opset_imports=[helper.make_opsetid("", 20)])


def node(operation, **attributes):
    return lambda m: m.graph.node.append(helper.make_node(operation, ["y"], ["z"], **attributes))


def external(m):
    one = m.graph.initializer[0]
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    one.external_data.add(key="location", value="../../etc/passwd")


def constant(m):
    """A constant that claims a terabyte and holds nothing."""
    m.graph.initializer.append(TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[2**20, 2**18]))


def negative(m):
    m.graph.initializer.append(
        TensorProto(name="odd", data_type=TensorProto.FLOAT, dims=[-3], raw_data=bytes(12))
    )


def many(m):
    m.graph.node.extend([helper.make_node("Add", ["x", "one"], ["y"])] * 30_000)


def sparse(m):
    m.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(np.ones(1, dtype=np.float32)),
            numpy_helper.from_array(np.zeros(1, dtype=np.int64)),
            [3],
        )
    )


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (external, "keeps weights in another file"),
        (node("Loop", body=model().graph), "graphs within graphs"),
        (node("If", then_branch=model().graph), "graphs within graphs"),
        (node("Evil", domain="com.example"), "operations of 'com.example'"),
        (node("FusedConv", domain="com.microsoft"), "operations of 'com.microsoft'"),
        (node("ConstantOfShape"), "uses 'ConstantOfShape'"),
        (node("Resize"), "uses 'Resize'"),
        (
            lambda m: m.opset_import.append(helper.make_opsetid("com.example", 1)),
            "operations of 'com.example'",
        ),
        (lambda m: m.functions.add(name="f", domain="x"), "functions of its own"),
        (constant, "without its data"),
        (negative, "data is not what its shape says"),
        (sparse, "sparse tensors"),
        (many, "more fields than any network here has"),
        (lambda m: m.graph.initializer[0].dims.extend([1] * 9), "a tensor of 10 dimensions"),
        (lambda m: m.ClearField("graph"), "it holds 0 graphs"),
        (lambda m: setattr(m.graph, "doc_string", "x" * 2**23), "larger than that of any network"),
    ],
)
def test_what_no_converted_network_needs_is_refused(plant, why):
    changed = model()
    plant(changed)
    with pytest.raises(ModelError, match=f"^bad.onnx: .*{why}") as caught:
        onnx_file.inspect(changed.SerializeToString(), "bad.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x02\x08\x80"]
)
def test_a_file_that_is_not_onnx_is_one_line(data):
    with pytest.raises(ModelError, match=r"^bad\.onnx: not an ONNX model"):
        onnx_file.inspect(data, "bad.onnx")


def test_the_plain_model_passes():
    assert onnx_file.inspect(model().SerializeToString(), "x").operations == {"Add": 1}

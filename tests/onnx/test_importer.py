"""What the importer promises beside operators: batch, endings, shapes, functions, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper

from libmpc.errors import ModelError
from libmpc.graph import nodes
from libmpc.graph.floating import run_float
from libmpc.graph.onnx import read_onnx, read_onnx_proto
from tests.onnx.make import model, node

RNG = np.random.default_rng(0)
DENSE = {"w": RNG.normal(size=(6, 3)).astype(np.float32)}


def dense_after(*before: Any, last: Any = None, **more: Any) -> onnx.ModelProto:
    """Something of the six values of ``x``, and then a matrix."""
    return model([*before, last or node("MatMul", "h w")], ["n", 2, 3], DENSE, **more)


@pytest.mark.parametrize("batch", ["n", None, 1, 4])
def test_the_batch_is_no_part_of_a_sample(batch: object) -> None:
    flat = node("Flatten", "x", "h")
    graph = read_onnx_proto(model([flat, node("MatMul", "h w")], [batch, 2, 3], DENSE))  # type: ignore[list-item]
    assert graph.shapes[graph.nodes[0].name] == (2, 3)
    assert graph.shapes[graph.nodes[-1].name] == (3,)
    x = RNG.normal(size=(5, 2, 3))
    np.testing.assert_allclose(run_float(graph, x), x.reshape(5, 6) @ DENSE["w"], atol=1e-12)


def test_shapes_are_computed_as_pytorch_writes_them() -> None:
    steps = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n first", "ns"),
        node("Concat", "ns minus", "shape", axis=0),
        node("Reshape", "x shape", "h"),
        node("MatMul", "h w"),
    ]
    constants = DENSE | {
        "zero": np.int64(0),
        "first": np.asarray([0]),
        "minus": np.asarray([-1]),
    }
    graph = read_onnx_proto(model(steps, ["n", 2, 3], constants))
    assert graph.shapes[graph.nodes[-1].name] == (3,)


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        (["Softmax"], "softmax"),
        (["LogSoftmax"], "log_softmax"),
        (["Sigmoid"], "sigmoid"),
        (["ArgMax"], "argmax"),
        (["Softmax", "ArgMax"], "argmax"),
        (["Softmax", "Identity"], "softmax"),
    ],
)
def test_endings_are_left_to_the_client(tail: list[str], kind: str) -> None:
    names = ["t", *(f"t{i}" for i in range(1, len(tail))), "y"]
    ends = [
        node(k, names[i], names[i + 1], **({"axis": 1} if k == "ArgMax" else {}))
        for i, k in enumerate(tail)
    ]
    graph = read_onnx_proto(
        dense_after(
            node("Flatten", "x", "h"), node("MatMul", "h w", "t"), *ends[:-1], last=ends[-1]
        )
    )
    last = graph.nodes[-1]
    assert isinstance(last, nodes.Final)
    assert (last.kind, last.axis) == (kind, -1)
    assert sum(isinstance(n, nodes.Final) for n in graph.nodes) == 1


def test_functions_of_the_models_own_are_written_out() -> None:
    made = dense_after(
        node("Flatten", "x", "f"),
        helper.make_node("Twice", ["f"], ["h"], domain="mine", slope=0.5),
    )
    body = [
        node("LeakyRelu", "a", "b"),
        node("Add", "b b", "c"),
    ]
    body[0].attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    opset = [helper.make_opsetid("", 17)]
    made.functions.append(
        helper.make_function("mine", "Twice", ["a"], ["c"], body, opset, ["slope"])
    )
    made.opset_import.append(helper.make_opsetid("mine", 1))
    x = RNG.normal(size=(4, 2, 3))
    wanted = 2 * np.where(x > 0, x, 0.5 * x).reshape(4, 6) @ DENSE["w"]
    np.testing.assert_allclose(run_float(read_onnx_proto(made), x), wanted, atol=1e-12)


def test_external_weights_are_read_from_the_models_folder(tmp_path: Path) -> None:
    made = dense_after(node("Flatten", "x", "h"))
    path = tmp_path / "m.onnx"
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = RNG.normal(size=(2, 2, 3))
    np.testing.assert_array_equal(
        run_float(read_onnx(path), x),
        run_float(read_onnx_proto(dense_after(node("Flatten", "x", "h"))), x),
    )


@pytest.mark.parametrize(
    ("nodes_", "says"),
    [
        ([node("Tanh", "x")], "'the Tanh' (Tanh): is not supported: it is not piecewise linear"),
        ([node("LSTM", "x x x")], "is recurrent"),
        ([node("InstanceNormalization", "x b b")], "statistics of the input itself"),
        ([node("MatMul", "x x")], "depend on the input"),
        ([node("Div", "x x")], "divides by a value that depends on the input"),
        ([node("Gather", "w i")], "one-hot"),
        ([node("Softmax", "x", "h"), node("Relu", "h")], "nothing can come after it"),
        ([node("Softmax", "x", axis=0)], "along the batch"),
        ([node("Cast", "x", to=TensorProto.INT64)], "only at the very end"),
        ([node("Relu", "x", alpha=1.0)], "attribute 'alpha'"),
        ([node("Relu", "h")], "'h' is read but never made"),
        ([node("Relu", "z", "h"), node("Relu", "h", "z"), node("Relu", "z")], "on itself"),
        ([node("Relu", "x", "h"), node("Relu", "x", "h"), node("Relu", "h")], "made twice"),
        ([node("Dropout", "x _ yes")], "model.eval()"),
        ([node("If", "yes")], "without loops or branches"),
        ([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")], "com.microsoft"),
        ([node("Identity", "w")], "does not depend on its input"),
        ([node("Frobnicate", "x")], "supported are Abs, Add"),
    ],
)
def test_what_is_not_supported_is_named(nodes_: list[Any], says: str) -> None:
    constants = {"w": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32), "yes": np.True_}
    made = model(nodes_, ["n", 2, 2], constants)
    if "w i" in " ".join(nodes_[0].input):
        made = model([node("Cast", "x", "i", to=7), *nodes_], ["n", 2], constants, kind=7)
    with pytest.raises(ModelError) as caught:
        read_onnx_proto(made)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "opset", "kind", "says"),
    [
        (["n", 2], 11, 1, "export it again with opset_version=13"),
        (["n", 2], 99, 1, "opset_version=28"),
        (["n", "width"], 17, 1, "axis 1 of the model's input 'x' has no fixed size"),
        ([], 17, 1, "single number"),
        (["n", 2], 17, TensorProto.BOOL, "bool"),
        (["n", 2], 17, TensorProto.STRING, "element type"),
    ],
)
def test_the_model_as_a_whole(shape: list[Any], opset: int, kind: int, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        read_onnx_proto(model([node("Relu", "x")], shape, opset=opset, kind=kind))


def test_several_inputs_or_outputs_are_refused() -> None:
    made = model([node("Relu", "x")], ["n", 2])
    made.graph.input.append(helper.make_tensor_value_info("second", 1, [1]))
    with pytest.raises(ModelError, match="2 inputs \\('x', 'second'\\)"):
        read_onnx_proto(made)
    made = model([node("Relu", "x")], ["n", 2])
    made.graph.output.append(made.graph.output[0])
    with pytest.raises(ModelError, match="2 outputs"):
        read_onnx_proto(made)


def test_a_fixed_batch_that_does_not_fit_is_explained() -> None:
    constants = DENSE | {"shape": np.asarray([4, 6])}
    made = model([node("Reshape", "x shape", "h"), node("MatMul", "h w")], [4, 2, 3], constants)
    with pytest.raises(ModelError, match="of size 4, was taken for the batch"):
        read_onnx_proto(made)

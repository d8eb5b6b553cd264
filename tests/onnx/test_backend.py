"""ONNX's backend interface: models and single operators, on shares."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper

import libmpc.onnx_backend as backend
from libmpc.errors import InputError, ModelError, RangeError
from tests.onnx.make import model, node

NEAR = 2.0**-13


def test_it_is_a_backend() -> None:
    assert issubclass(backend.Backend, onnx.backend.base.Backend)
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:0")
    with pytest.raises(ModelError, match="only CPU"):
        backend.prepare(model([node("Relu", "x")], [1, 2]), "CUDA")


def test_a_model_is_run_again_and_again() -> None:
    w = np.float32([[1, -2], [0.5, 0.25]])
    rep = backend.prepare(
        model([node("MatMul", "x w", "h"), node("Relu", "h")], ["n", 2], {"w": w})
    )
    for x in (np.float32([[1, 2]]), np.float32([[-3, 0.5], [2, 1]])):
        (y,) = rep.run([x])
        np.testing.assert_allclose(y, np.maximum(x @ w, 0), atol=NEAR)
        assert y.dtype == np.float32
        assert np.array_equal(rep.run({"x": x})[0], y)


def test_a_node_is_run() -> None:
    x, y = np.float32([[1.5, -2]]), np.float32([3, 0.25])
    (made,) = backend.run_node(helper.make_node("Add", ["a", "b"], ["c"]), [x, y])
    assert np.array_equal(made, x + y)
    split = helper.make_node("Split", ["a"], ["b", "c"], axis=1, num_outputs=2)
    parts = backend.run_node(split, [x], opset_version=18)
    assert [p.tolist() for p in parts] == [[[1.5]], [[-2.0]]]


def test_integers_stay_integers() -> None:
    a, b = np.uint8([1, 200, 7]), np.uint8([2, 100, 7])
    for kind, wanted in (("Add", a + b), ("Sub", a - b), ("Mul", a * b), ("Max", np.maximum(a, b))):
        (made,) = backend.run_node(helper.make_node(kind, ["a", "b"], ["c"]), [a, b])
        assert made.dtype == np.uint8
        assert made.tolist() == wanted.tolist()


def test_the_client_rounds_at_the_end() -> None:
    cast = helper.make_node("Cast", ["a"], ["b"], to=TensorProto.INT32)
    (made,) = backend.run_node(
        cast, [np.float32([1.7, -1.7])], outputs_info=[(np.dtype(np.int32), (2,))]
    )
    assert made.dtype == np.int32
    assert made.tolist() == [1, -1]


def test_older_models_are_converted() -> None:
    made = model([node("Relu", "x", "h"), node("Softmax", "h", axis=1)], [1, 3], opset=9)
    assert backend.is_compatible(made)
    x = np.float32([[1, 2, -1]])
    (y,) = backend.run_model(made, [x])
    e = np.exp(np.maximum(x, 0))
    np.testing.assert_allclose(y, e / e.sum(), atol=NEAR)
    assert not backend.is_compatible(model([node("Relu", "x")], [1, 3], opset=99))


def test_what_fixed_point_has_not_is_refused() -> None:
    square = model([node("Mul", "x x", "h"), node("Relu", "h")], [1, 1])
    assert backend.run_model(square, [np.float32([[150]])])[0] == 22500
    with pytest.raises(RangeError, match="the Mul"):
        backend.run_model(square, [np.float32([[200]])])
    with pytest.raises(InputError, match="NaN"):
        backend.run_model(square, [np.float32([[np.nan]])])
    with pytest.raises(ModelError, match="1 inputs, 2 arrays"):
        backend.run_model(square, [np.float32([[1]])] * 2)

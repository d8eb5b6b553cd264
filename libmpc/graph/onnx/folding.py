"""Computes what does not depend on the input, such as shapes, with bounds on size and work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from libmpc.errors import ModelError
from libmpc.graph.onnx import fold_moves
from libmpc.graph.onnx.op import Op
from libmpc.graph.onnx.tensors import Array

MAX_EXPANSION = 1 << 26  # values that constants may grow to, beyond what the file has
_MAX_WORK = 1 << 32

_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Exp": np.exp,
    "Floor": np.floor,
    "Identity": np.array,
    "Log": np.log,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Round": np.rint,
    "Sign": np.sign,
    "Sqrt": np.sqrt,
}
_BINARY: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "And": np.logical_and,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Pow": lambda x, y: np.power(x, y).astype(x.dtype),
    "Sub": np.subtract,
}
_MANY: dict[str, Callable[..., Any]] = {
    "Max": np.maximum,
    "Min": np.minimum,
    "Sum": np.add,
}
_REDUCE: dict[str, Callable[..., Any]] = {
    "ReduceMax": np.max,
    "ReduceMean": np.mean,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
}
FOLDED = frozenset(
    (*_UNARY, *_BINARY, *_MANY, *_REDUCE, *fold_moves.RULES, "Div", "MatMul", "Mod", "Where")
)


class Folder:
    """Computes constants, and counts what they grow to."""

    def __init__(self) -> None:
        self._left = MAX_EXPANSION

    def fold(self, op: Op, inputs: Sequence[Array | None]) -> list[Array]:
        """The outputs of a node all of whose inputs are constants.

        Raises:
            ModelError: the operator is not among those that can be computed, or its inputs do
                not fit, or the result would be too large.
        """
        if op.kind not in FOLDED:
            raise op.refuse(
                "all its inputs are constants, and this operator is not among those that are "
                "computed in advance; simplify the model first (for example with onnxsim)"
            )
        try:
            with np.errstate(all="ignore"):
                made = [np.asarray(array) for array in self._compute(op, list(inputs))]
        except ModelError:
            raise
        except MemoryError:
            raise op.refuse("the constant that it makes is too large") from None
        except Exception as error:  # noqa: BLE001 - numpy raises many types for what does not fit
            raise op.refuse(f"its constants do not fit ({type(error).__name__})") from None
        return made

    def claim(self, op: Op, shape: Sequence[int], *inputs: Array) -> None:
        """Make sure that a result may have this shape, before memory is taken for it."""
        growth = math.prod(shape) - max((array.size for array in inputs), default=0)
        self._left -= max(growth, 0)
        if self._left < 0:
            raise op.refuse(f"constants grow to more than {MAX_EXPANSION} values")

    def _compute(self, op: Op, inputs: list[Array | None]) -> list[Array]:
        if op.kind in fold_moves.RULES:
            return fold_moves.RULES[op.kind](op, inputs, self.claim)
        if op.kind in _REDUCE:
            return [_reduce(op, inputs)]
        arrays = _present(op, inputs)
        if op.kind == "MatMul":
            a, b = arrays
            rows = math.prod(a.shape[:-1] or (1,))
            if rows * b.size > _MAX_WORK:
                raise op.refuse("the product of constants takes too much work")
            self.claim(op, (rows, b.size // max(1, b.shape[-2] if b.ndim > 1 else b.size)), a, b)
            return [np.matmul(a, b)]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        self.claim(op, shape, *arrays)
        if op.kind in _UNARY:
            (x,) = arrays
            return [_UNARY[op.kind](x).astype(x.dtype)]
        if op.kind in _MANY:
            total = arrays[0]
            for array in arrays[1:]:
                total = _MANY[op.kind](total, array)
            return [total]
        if op.kind == "Where":
            condition, x, y = arrays
            return [np.where(condition, x, y)]
        a, b = arrays
        if op.kind == "Div":
            return [_divide(op, a, b)]
        if op.kind == "Mod":
            return [np.fmod(a, b) if op.flag("fmod") else np.mod(a, b)]
        return [_BINARY[op.kind](a, b)]


def _present(op: Op, inputs: Sequence[Array | None]) -> list[Array]:
    if not inputs or any(array is None for array in inputs):
        raise op.refuse("an input is missing")
    return [array for array in inputs if array is not None]


def _divide(op: Op, a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    if not b.all():
        raise op.refuse("divides a constant by zero")
    return np.asarray(np.trunc(a / b) if a.dtype.kind == "i" else a // b).astype(a.dtype)


def _reduce(op: Op, inputs: Sequence[Array | None]) -> Array:
    x = _present(op, inputs[:1])[0]
    listed = inputs[1] if len(inputs) > 1 else None
    axes = op.axes("axes", x.ndim)
    if listed is not None:
        axes = op.normal([int(i) for i in listed.ravel()[:64]], x.ndim)
    if not axes:
        if op.flag("noop_with_empty_axes"):
            return x
        axes = tuple(range(x.ndim))
    found = _REDUCE[op.kind](x, axis=axes, keepdims=op.flag("keepdims", True))
    return np.asarray(found).astype(x.dtype)

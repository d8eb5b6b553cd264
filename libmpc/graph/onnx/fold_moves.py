"""Constant operators that make, move and convert arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import AttributeProto, TensorProto

from libmpc.graph.onnx.op import Op
from libmpc.graph.onnx.shapes import reshaped, slices, split_sizes, squeezed, unsqueezed
from libmpc.graph.onnx.tensors import Array, dtype_of

Claim: TypeAlias = Callable[..., None]
Inputs: TypeAlias = Sequence["Array | None"]


def _first(op: Op, inputs: Inputs) -> Array:
    return need(op, inputs, 0)


def need(op: Op, inputs: Inputs, place: int) -> Array:
    """An input that must be there."""
    found = inputs[place] if place < len(inputs) else None
    if found is None:
        raise op.refuse(f"input {place} is missing")
    return found


def ints(op: Op, inputs: Inputs, place: int) -> tuple[int, ...] | None:
    """An optional input that is a list of integers."""
    if place >= len(inputs) or inputs[place] is None:
        return None
    found = need(op, inputs, place)
    if found.dtype.kind not in "iu" or found.ndim > 1 or found.size > 1 << 16:
        raise op.refuse(f"input {place} is not a list of integers")
    return tuple(int(i) for i in found.ravel())


def _constant(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    if len(op.attributes) != 1:
        raise op.refuse("should have exactly one value")
    ((name, attribute),) = op.attributes.items()
    if name == "value":
        found = op.tensor("value")
        assert found is not None
        return [found]
    kinds = {
        "value_float": (AttributeProto.FLOAT, np.float32),
        "value_floats": (AttributeProto.FLOATS, np.float32),
        "value_int": (AttributeProto.INT, np.int64),
        "value_ints": (AttributeProto.INTS, np.int64),
    }
    if name not in kinds or attribute.type != kinds[name][0]:
        raise op.refuse(f"a constant given as {name[:40]!a} is not supported")
    number = {AttributeProto.FLOAT: attribute.f, AttributeProto.INT: attribute.i}
    listed = {AttributeProto.FLOATS: attribute.floats, AttributeProto.INTS: attribute.ints}
    value: Any = number.get(attribute.type)
    if value is None:
        value = list(listed[attribute.type])
    return [np.asarray(value, kinds[name][1])]


def _constant_of_shape(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    shape = ints(op, inputs, 0) or ()
    if any(d < 0 for d in shape):
        raise op.refuse(f"the shape {shape[:8]} has a negative size")
    claim(op, shape)
    value = op.tensor("value")
    fill = np.zeros(1, np.float32) if value is None else value.ravel()
    return [np.full(shape, fill[0], fill.dtype)]


def _range(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    start, limit, delta = (need(op, inputs, i).ravel()[0] for i in range(3))
    if not delta:
        raise op.refuse("its step is 0")
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    claim(op, (count,))
    return [(start + np.arange(count) * delta).astype(start.dtype)]


def _cast(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    if op.kind == "CastLike":
        return [x.astype(need(op, inputs, 1).dtype)]
    return [x.astype(dtype_of(op.integer("to", TensorProto.UNDEFINED), f"layer {op.name!r}"))]


def _gather(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x, places = _first(op, inputs), need(op, inputs, 1)
    axis = op.axis(0, x.ndim)
    claim(op, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]), x)
    return [np.take(x, places, axis=axis)]


def _concat(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    arrays = [need(op, inputs, i) for i in range(len(inputs))]
    claim(op, (sum(array.size for array in arrays),))
    return [np.concatenate(arrays, op.axis(0, arrays[0].ndim))]


def _reshape(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    return [x.reshape(reshaped(op, x.shape, ints(op, inputs, 1) or ()))]


def _flatten(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    axis = op.integer("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return [x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))]


def _transpose(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    return [np.transpose(_first(op, inputs), op.integers("perm"))]


def _squeeze(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    return [x.reshape(squeezed(op, x.shape, ints(op, inputs, 1)))]


def _unsqueeze(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    return [x.reshape(unsqueezed(op, x.shape, ints(op, inputs, 1) or ()))]


def _slice(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    lists = [ints(op, inputs, i) for i in range(1, 5)]
    starts, sizes, strides = slices(op, x.shape, *lists)
    places = [s + np.arange(n) * d for s, n, d in zip(starts, sizes, strides, strict=True)]
    return [x[np.ix_(*places)] if places else x]


def _split(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    axis = op.axis(0, x.ndim)
    sizes = split_sizes(op, x.shape[axis], ints(op, inputs, 1))
    return list(np.split(x, np.cumsum(sizes)[:-1], axis))


def _expand(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    shape = np.broadcast_shapes(x.shape, ints(op, inputs, 1) or ())
    claim(op, shape, x)
    return [np.broadcast_to(x, shape).copy()]


def _tile(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x, times = _first(op, inputs), ints(op, inputs, 1) or ()
    if len(times) != x.ndim or any(t < 0 for t in times):
        raise op.refuse("its repeats do not fit")
    claim(op, [d * t for d, t in zip(x.shape, times, strict=True)], x)
    return [np.tile(x, times)]


def _shape(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    return [np.asarray(x.shape[op.integer("start", 0) : op.integer("end", x.ndim)], np.int64)]


def _size(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    return [np.asarray(_first(op, inputs).size, np.int64)]


def _dropout(op: Op, inputs: Inputs, claim: Claim) -> list[Array]:
    x = _first(op, inputs)
    return [x, np.ones(x.shape, np.bool_)]


RULES: dict[str, Callable[[Op, Inputs, Claim], list[Array]]] = {
    "Cast": _cast,
    "CastLike": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

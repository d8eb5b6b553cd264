"""Sums, means and extremes over whole axes."""

from __future__ import annotations

import math

from libmpc.graph.nodes import Shape
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.values import Secret, Value


def _axes(layer: Layer, x: Secret, inputs: Inputs) -> tuple[int, ...]:
    """ReduceSum has its axes as an input since opset 13, the others since 18."""
    listed = at(inputs, 1)
    rank = len(x.shape)
    axes = layer.op.axes("axes", rank)
    if listed is not None:
        axes = layer.op.normal(layer.integers(listed, "the axes"), rank)
    if not axes:
        return () if layer.op.flag("noop_with_empty_axes") else tuple(range(rank))
    return axes


def _over(layer: Layer, x: Secret, axes: tuple[int, ...], *, mean: bool) -> Secret:
    if not axes:
        return x
    over = layer.b.mean_over if mean else layer.b.sum_over
    keep = layer.op.flag("keepdims", default=True)
    return layer.made(over(layer.op.name, x.name, axes, keep=keep), x, _kept(layer, x, axes))


def _kept(layer: Layer, x: Secret, axes: tuple[int, ...]) -> Shape:
    if layer.op.flag("keepdims", default=True):
        return tuple(1 if axis in axes else d for axis, d in enumerate(x.shape))
    return tuple(d for axis, d in enumerate(x.shape) if axis not in axes)


def _sum(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    return [_over(layer, x, _axes(layer, x, inputs), mean=False)]


def _mean(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.real(at(inputs, 0))
    return [_over(layer, x, _axes(layer, x, inputs), mean=True)]


def _max(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    return [_largest(layer, x, _axes(layer, x, inputs))]


def _min(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    axes = _axes(layer, x, inputs)
    return [layer.add([_largest(layer, layer.add([x], [-1]), axes)], [-1])]


def _largest(layer: Layer, x: Secret, axes: tuple[int, ...]) -> Secret:
    """Max pooling with a window that is as wide as the axes."""
    if not axes:
        return x
    others = [axis for axis in range(len(x.shape)) if axis not in axes]
    width = math.prod(x.shape[axis] for axis in axes)
    rows = math.prod(x.shape[axis] for axis in others)
    wide = layer.reshape(layer.transpose(x, (*others, *axes)), (rows, width, 1))
    name = layer.b.max_pool(layer.op.name, wide.name, (1, width), (1, width))
    return layer.reshape(layer.made(name, wide), _kept(layer, x, axes))


_ATTRIBUTES = ("axes", "keepdims", "noop_with_empty_axes")
READERS = {
    "ReduceMax": Reader(_max, _ATTRIBUTES, constants=(1,)),
    "ReduceMean": Reader(_mean, _ATTRIBUTES, constants=(1,)),
    "ReduceMin": Reader(_min, _ATTRIBUTES, constants=(1,)),
    "ReduceSum": Reader(_sum, _ATTRIBUTES, constants=(1,)),
}

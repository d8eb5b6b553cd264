"""Sums and means over whole axes."""

from __future__ import annotations

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
    keep = layer.op.flag("keepdims", default=True)
    if not axes:
        return x
    over = layer.b.mean_over if mean else layer.b.sum_over
    kept = tuple(d for axis, d in enumerate(x.shape) if axis not in axes)
    if keep:
        kept = tuple(1 if axis in axes else d for axis, d in enumerate(x.shape))
    name = over(layer.op.name, x.name, axes, keep=keep)
    return layer.made(name, x, kept)


def _sum(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    return [_over(layer, x, _axes(layer, x, inputs), mean=False)]


def _mean(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.real(at(inputs, 0))
    return [_over(layer, x, _axes(layer, x, inputs), mean=True)]


READERS = {
    "ReduceMean": Reader(_mean, ("axes", "keepdims", "noop_with_empty_axes"), constants=(1,)),
    "ReduceSum": Reader(_sum, ("axes", "keepdims", "noop_with_empty_axes"), constants=(1,)),
}

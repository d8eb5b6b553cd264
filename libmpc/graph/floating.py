"""A network in float64, as its framework would run it: what fixed point is compared with.

Nothing here decides an answer; that is the plan's part, in integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import InputError
from libmpc.graph import nodes, sliding
from libmpc.graph.nodes import FinalActivation, Floats, Graph, Node

_CHUNK = 1 << 23  # values of one node that are in memory at a time, as samples allow

_Rule = Callable[..., Floats]


def run_float(graph: Graph, x: Floats) -> Floats:
    """The network's output for a batch, in float64.

    Args:
        graph: any network.
        x: (batch, *input shape), real numbers.

    Returns:
        (batch, *output shape); before the final activation, if there is one
        (see ``apply_final``).

    Raises:
        InputError: ``x`` has another shape.
    """
    values = np.asarray(x, np.float64)
    shape = graph.shapes[graph.nodes[0].name]
    if values.ndim < 1 or values.shape[1:] != shape:
        raise InputError(f"the input has shape {values.shape}, the model takes (batch, *{shape})")
    samples = max(1, _CHUNK // max(int(np.prod(s, dtype=np.int64)) for s in graph.shapes.values()))
    parts = [_run(graph, values[i : i + samples]) for i in range(0, len(values), samples)]
    if not parts:
        return np.empty((0, *graph.shapes[graph.nodes[-1].name]))
    return np.concatenate(parts)


def apply_final(
    kind: FinalActivation | None, y: Floats, axis: int = -1
) -> Floats | NDArray[np.int64]:
    """What the client makes of logits.

    Args:
        kind: the final activation; ``None`` leaves the logits as they are.
        y: (batch, *output shape).
        axis: of one sample's shape, which softmax and argmax go along.

    Returns:
        float64 of ``y``'s shape; for ``"argmax"`` int64 without the axis.
    """
    along = axis + 1 if axis >= 0 else axis
    if kind is None:
        return y
    if kind == "argmax":
        labels: NDArray[np.int64] = y.argmax(axis=along)
        return labels
    result: Floats
    if kind == "sigmoid":
        small = np.exp(-np.abs(y))
        result = np.where(y >= 0, 1.0, small) / (1.0 + small)
        return result
    shifted = y - y.max(axis=along, keepdims=True)
    total = np.exp(shifted).sum(axis=along, keepdims=True)
    result = shifted - np.log(total) if kind == "log_softmax" else np.exp(shifted) / total
    return result


def _run(graph: Graph, x: Floats) -> Floats:
    left = graph.readers
    values: dict[str, Floats] = {}
    for node in graph.nodes:
        if isinstance(node, nodes.Input):
            result = x
        else:
            result = _RULES[type(node)](node, *(values[name] for name in node.inputs))
        for name in node.inputs:
            left[name] -= 1
            if not left[name]:
                values.pop(name, None)
        values[node.name] = result
    return np.ascontiguousarray(values[graph.nodes[-1].name])


def _dense(node: nodes.Dense, x: Floats) -> Floats:
    product: Floats = x.reshape(-1, x.shape[-1]) @ node.weights + node.bias
    return product.reshape(*x.shape[:-1], -1)


def _conv(node: nodes.Conv, x: Floats) -> Floats:
    out = sliding.conv(
        _images(x), node.kernel, node.strides, node.dilation, node.padding, node.groups
    )
    return (out + node.bias).reshape(*x.shape[:-3], *out.shape[1:])


def _pool(pool: Callable[..., Floats]) -> _Rule:
    def rule(node: nodes.SumPool | nodes.MaxPool, x: Floats) -> Floats:
        out = pool(_images(x), node.kernel, node.strides, node.dilation, node.padding)
        return out.reshape(*x.shape[:-3], *out.shape[1:])

    return rule


def _images(x: Floats) -> Floats:
    return x.reshape(-1, *x.shape[-3:])


def _add(node: nodes.Add, *xs: Floats) -> Floats:
    total = np.zeros_like(xs[0])
    for x, coefficient in zip(xs, node.coefficients, strict=True):
        total += coefficient * x
    return total


def _sum(node: nodes.Sum, x: Floats) -> Floats:
    total = x.sum(axis=tuple(axis + 1 for axis in node.axes))
    summed: Floats = total.reshape(len(x), 1) if total.ndim == 1 else total
    return summed


def _slice(node: nodes.Slice, x: Floats) -> Floats:
    places = (
        start + stride * np.arange(size)
        for start, size, stride in zip(node.starts, node.sizes, node.strides, strict=True)
    )
    taken: Floats = x[np.ix_(np.arange(len(x)), *places)]
    return taken


def _pad(node: nodes.Pad, x: Floats) -> Floats:
    places = zip(node.before, x.shape[1:], node.between, strict=True)
    result = np.full((len(x), *node.output_shape(x.shape[1:])), node.value)
    inner = (slice(b, b + (dim - 1) * (gap + 1) + 1, gap + 1) for b, dim, gap in places)
    result[(slice(None), *inner)] = x
    return result


_RULES: dict[type[Node], _Rule] = {
    nodes.Dense: _dense,
    nodes.Conv: _conv,
    nodes.Scale: lambda node, x: x * node.factor + node.offset,
    nodes.Add: _add,
    nodes.SumPool: _pool(sliding.sum_pool),
    nodes.Sum: _sum,
    nodes.Reshape: lambda node, x: np.ascontiguousarray(x).reshape(len(x), *node.shape),
    nodes.Transpose: lambda node, x: x.transpose(0, *(axis + 1 for axis in node.order)),
    nodes.Slice: _slice,
    nodes.Pad: _pad,
    nodes.Concat: lambda node, *xs: np.concatenate(xs, axis=node.axis + 1),
    nodes.Expand: lambda node, x: np.broadcast_to(x, (len(x), *node.shape)),
    nodes.Multiply: lambda node, x, y: x * y,
    nodes.Relu: lambda node, x: np.maximum(x, 0.0),
    nodes.Maximum: lambda node, x, y: np.maximum(x, y),
    nodes.Minimum: lambda node, x, y: np.minimum(x, y),
    nodes.MaxPool: _pool(sliding.max_pool),
    nodes.Sign: lambda node, x: np.sign(x),
    nodes.Final: lambda node, x: x,
}

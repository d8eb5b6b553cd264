"""Builds a graph node by node, checking shapes; what importers call.

A method takes the names of values, adds the nodes that make the result, and returns its name.
``layer`` names the layer in the user's file: all nodes of one layer begin with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from libmpc.errors import ModelError
from libmpc.graph import nodes
from libmpc.graph.nodes import FinalActivation, Floats, Graph, Node, Padding, Pair, Shape

MAX_NODES = 1 << 16
_ONE, _ZERO = np.ones(1), np.zeros(1)


class GraphBuilder:
    """A network under construction.

    Args:
        shape: of one sample of the input.
        name: the input's.

    Attributes:
        shapes: of every value so far, by name.
    """

    def __init__(self, shape: Shape, name: str = "input") -> None:
        self.shapes: dict[str, Shape] = {}
        self._nodes: list[Node] = []
        self.input = self.add(nodes.Input(name, (), tuple(shape)))

    def add(self, node: Node) -> str:
        """Append a node; returns its name.

        Raises:
            ModelError: its name is taken, it does not fit what it reads, or is too large.
        """
        if len(self._nodes) >= MAX_NODES:
            raise ModelError(f"the model has more than {MAX_NODES} operations")
        if node.name in self.shapes:
            raise node.refuse("another layer has the same name")
        shape = tuple(int(d) for d in node.output_shape(*(self.shapes[i] for i in node.inputs)))
        nodes.check_shape(shape, node)
        self._nodes.append(node)
        self.shapes[node.name] = shape
        return node.name

    def graph(self, output: str) -> Graph:
        """The finished network, without what ``output`` does not depend on."""
        needed = {output, self.input}
        for node in reversed(self._nodes):
            if node.name in needed:
                needed.update(node.inputs)
        kept = [n for n in self._nodes if n.name in needed and n.name != output]
        last = next(n for n in self._nodes if n.name == output)
        ordered = (*kept, last)
        return Graph(ordered, {n.name: self.shapes[n.name] for n in ordered})

    def name(self, layer: str) -> str:
        """A free name that begins with the layer's."""
        if layer not in self.shapes:
            return layer
        number = 2
        while (name := f"{layer}:{number}") in self.shapes:
            number += 1
        return name

    def _put(
        self, make: Callable[..., Node], layer: str, inputs: Sequence[str], *rest: object
    ) -> str:
        return self.add(make(self.name(layer), tuple(inputs), *rest))

    # ---- linear

    def dense(self, layer: str, x: str, weights: Floats, bias: Floats | None = None) -> str:
        """x·W + b over the last axis."""
        return self._put(nodes.Dense, layer, [x], *_with_bias(weights, bias))

    def conv(
        self,
        layer: str,
        x: str,
        kernel: Floats,
        bias: Floats | None = None,
        strides: Pair = (1, 1),
        dilation: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        groups: int = 1,
    ) -> str:
        """See ``nodes.Conv``."""
        constants = _with_bias(kernel, bias)
        return self._put(nodes.Conv, layer, [x], *constants, strides, dilation, padding, groups)

    def scale(self, layer: str, x: str, factor: object = _ONE, offset: object = _ZERO) -> str:
        """x·factor + offset; constants of any shape that repeats into x's."""
        constants = (np.asarray(c, np.float64) for c in (factor, offset))
        return self._put(nodes.Scale, layer, [x], *constants)

    def sum_of(self, layer: str, xs: Sequence[str], coefficients: Sequence[int] = ()) -> str:
        """The sum of values of one shape, each times an integer (1 by default)."""
        factors = tuple(coefficients) or (1,) * len(xs)
        return self._put(nodes.Add, layer, xs, factors)

    def sum_pool(
        self,
        layer: str,
        x: str,
        kernel: Pair,
        strides: Pair,
        dilation: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
    ) -> str:
        """Sums over windows."""
        return self._put(nodes.SumPool, layer, [x], kernel, strides, dilation, padding)

    def sum_over(self, layer: str, x: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Sums over axes, which go, or stay with size 1."""
        shape = self.shapes[x]
        gone = tuple(sorted({axis % len(shape) for axis in axes}))
        if not gone:
            return x
        total = self._put(nodes.Sum, layer, [x], gone)
        if not keep:
            return total
        return self.reshape(layer, total, tuple(1 if a in gone else d for a, d in enumerate(shape)))

    def mean_over(self, layer: str, x: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Means over axes."""
        shape = self.shapes[x]
        count = int(np.prod([shape[a] for a in {a % len(shape) for a in axes}], dtype=np.int64))
        return self.scale(layer, self.sum_over(layer, x, axes, keep=keep), 1.0 / count)

    # ---- moves; those that would do nothing add nothing

    def reshape(self, layer: str, x: str, shape: Shape) -> str:
        if tuple(shape) == self.shapes[x]:
            return x
        return self._put(nodes.Reshape, layer, [x], tuple(shape))

    def transpose(self, layer: str, x: str, order: Sequence[int]) -> str:
        if list(order) == list(range(len(self.shapes[x]))):
            return x
        return self._put(nodes.Transpose, layer, [x], tuple(order))

    def slice(
        self,
        layer: str,
        x: str,
        starts: Sequence[int],
        sizes: Sequence[int],
        strides: Sequence[int],
    ) -> str:
        if tuple(sizes) == self.shapes[x] and set(strides) == {1}:
            return x
        return self._put(nodes.Slice, layer, [x], tuple(starts), tuple(sizes), tuple(strides))

    def pad(
        self,
        layer: str,
        x: str,
        before: Sequence[int],
        after: Sequence[int],
        between: Sequence[int] | None = None,
        value: float = 0.0,
    ) -> str:
        gaps = tuple(between) if between is not None else (0,) * len(self.shapes[x])
        if not any((*before, *after, *gaps)):
            return x
        return self._put(nodes.Pad, layer, [x], tuple(before), tuple(after), gaps, value)

    def concat(self, layer: str, xs: Sequence[str], axis: int) -> str:
        if len(xs) == 1:
            return xs[0]
        return self._put(nodes.Concat, layer, xs, axis % len(self.shapes[xs[0]]))

    def expand(self, layer: str, x: str, shape: Shape) -> str:
        """Repeat x into ``shape`` by numpy's rules, new axes in front included."""
        missing = len(shape) - len(self.shapes[x])
        x = self.reshape(layer, x, (1,) * missing + self.shapes[x])
        if tuple(shape) == self.shapes[x]:
            return x
        return self._put(nodes.Expand, layer, [x], tuple(shape))

    # ---- products and comparisons

    def multiply(self, layer: str, x: str, y: str) -> str:
        return self._put(nodes.Multiply, layer, [x, y])

    def relu(self, layer: str, x: str) -> str:
        return self._put(nodes.Relu, layer, [x])

    def maximum(self, layer: str, x: str, y: str) -> str:
        return self._put(nodes.Maximum, layer, [x, y])

    def minimum(self, layer: str, x: str, y: str) -> str:
        return self._put(nodes.Minimum, layer, [x, y])

    def max_pool(
        self,
        layer: str,
        x: str,
        kernel: Pair,
        strides: Pair,
        dilation: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
    ) -> str:
        """The largest value of every window."""
        return self._put(nodes.MaxPool, layer, [x], kernel, strides, dilation, padding)

    def sign(self, layer: str, x: str) -> str:
        return self._put(nodes.Sign, layer, [x])

    def final(self, layer: str, x: str, kind: FinalActivation, axis: int = -1) -> str:
        return self._put(nodes.Final, layer, [x], kind, axis)


def _with_bias(weights: Floats, bias: Floats | None) -> tuple[Floats, Floats]:
    return weights, np.zeros(weights.shape[-1]) if bias is None else bias

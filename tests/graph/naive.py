"""Slow, obvious versions to compare with, and chains of layers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from libmpc.graph import nodes
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.nodes import Graph

Floats = NDArray[np.float64]


def evaluate(graph: Graph, x: Floats, truncate: bool) -> Floats:
    """A chain layer by layer on one sample, unfolded, in float64.

    With ``truncate`` every ReLU rounds down to a multiple of 2^-16 first, as fixed point does.
    """
    for node in graph.nodes[1:]:
        if isinstance(node, nodes.Conv):
            x = conv(x, node)
        elif isinstance(node, nodes.SumPool):
            x = windows(x, node.kernel, node.strides, lambda part: part.sum(axis=(0, 1)))
        elif isinstance(node, nodes.Scale):
            x = x * node.factor + node.offset
        elif isinstance(node, nodes.Dense):
            x = x @ node.weights + node.bias
        elif isinstance(node, nodes.Relu):
            x = np.maximum(np.floor(x * 65536) / 65536 if truncate else x, 0)
        elif isinstance(node, nodes.Reshape):
            x = x.reshape(node.shape)
        else:
            raise TypeError(type(node).__name__)
    return x


def conv(x: Floats, node: nodes.Conv) -> Floats:
    """A convolution of one image, without groups."""
    top, bottom, left, right = node.padding
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    down, across = node.dilation
    height, width = node.kernel.shape[:2]
    extent = ((height - 1) * down + 1, (width - 1) * across + 1)

    def one(part: Floats) -> Floats:
        return np.tensordot(part[::down, ::across], node.kernel, 3) + node.bias

    return windows(x, extent, node.strides, one)


def windows(
    x: Floats, extent: tuple[int, int], strides: tuple[int, int], one: Callable[[Floats], Floats]
) -> Floats:
    """One value, or one for each channel, for every place of a window."""
    rows = (x.shape[0] - extent[0]) // strides[0] + 1
    columns = (x.shape[1] - extent[1]) // strides[1] + 1
    return np.array(
        [
            [
                one(
                    x[
                        r * strides[0] : r * strides[0] + extent[0],
                        c * strides[1] : c * strides[1] + extent[1],
                    ]
                )
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )


class Sketch:
    """Builds a chain of layers with random weights, multiples of 2^-``bits``."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0, bits: int = 3) -> None:
        self.rng = np.random.default_rng(seed)
        self.bits = bits
        self.builder = GraphBuilder(shape)
        self.last = self.builder.input
        self.count = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the last layer's result."""
        return self.builder.shapes[self.last]

    def numbers(self, *shape: int) -> Floats:
        """Random multiples of 2^-bits, up to 1."""
        top = 2**self.bits
        return self.rng.integers(-top, top + 1, shape) / float(top)

    def _name(self) -> str:
        self.count += 1
        return f"layer{self.count}"

    def conv(
        self,
        filters: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        groups: int = 1,
    ) -> Sketch:
        weights = self.numbers(*kernel, self.shape[2] // groups, filters)
        bias = self.numbers(filters)
        self.last = self.builder.conv(
            self._name(), self.last, weights, bias, strides, dilation, padding, groups
        )
        return self

    def pool(
        self, pool: tuple[int, int] = (2, 2), strides: tuple[int, int] | None = None
    ) -> Sketch:
        """Average pooling."""
        name = self._name()
        total = self.builder.sum_pool(name, self.last, pool, strides or pool)
        self.last = self.builder.scale(name, total, 1.0 / math.prod(pool))
        return self

    def dense(self, outputs: int) -> Sketch:
        weights = self.numbers(self.shape[-1], outputs)
        self.last = self.builder.dense(self._name(), self.last, weights, self.numbers(outputs))
        return self

    def norm(self) -> Sketch:
        """A factor and an offset for every channel."""
        constants = self.numbers(self.shape[-1]), self.numbers(self.shape[-1])
        self.last = self.builder.scale(self._name(), self.last, *constants)
        return self

    def relu(self) -> Sketch:
        self.last = self.builder.relu(self._name(), self.last)
        return self

    def flatten(self) -> Sketch:
        self.last = self.builder.reshape(self._name(), self.last, (math.prod(self.shape),))
        return self

    @property
    def graph(self) -> Graph:
        return self.builder.graph(self.last)

    def inputs(self, count: int, bits: int = 4) -> Floats:
        """Random multiples of 2^-bits between -1 and 1."""
        shape = (count, *self.builder.shapes[self.builder.input])
        return self.rng.integers(-(2**bits), 2**bits + 1, shape) / float(2**bits)


def tutorial(seed: int = 1) -> Graph:
    """The tutorial network: three convolutions, each with average pooling and ReLU, and a dense."""
    sketch = Sketch((28, 28, 1), seed)
    for filters in (10, 32, 64):
        sketch.conv(filters).pool().relu()
    graph = sketch.flatten().dense(10).graph
    for node in graph.nodes:  # the usual size of trained weights
        if isinstance(node, (nodes.Conv, nodes.Dense)):
            weights = node.kernel if isinstance(node, nodes.Conv) else node.weights
            weights *= 2 / math.sqrt(weights.size / weights.shape[-1])
    return graph

"""Slow, obvious versions to compare with, and random networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.nodes import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Flatten,
    Graph,
    Identity,
    Input,
    Node,
    Relu,
)

Floats = NDArray[np.float64]


def evaluate(graph: Graph, x: Floats, truncate: bool) -> Floats:
    """A network layer by layer on one sample, unfolded, in float64.

    With ``truncate`` every ReLU rounds down to a multiple of 2^-16 first, as fixed point does.
    """
    for node in graph.nodes:
        if isinstance(node, Conv2D):
            x = conv(x, node)
        elif isinstance(node, AveragePooling2D):
            x = windows(x, node.pool, node.strides, lambda part: part.mean(axis=(0, 1)))
        elif isinstance(node, Dense):
            x = x @ node.weights + node.bias
        elif isinstance(node, Relu):
            x = np.maximum(np.floor(x * 65536) / 65536 if truncate else x, 0)
        elif isinstance(node, Flatten):
            x = x.reshape(-1)
    return x


def conv(x: Floats, node: Conv2D) -> Floats:
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
        self.nodes: list[Node] = [Input("input", (), shape)]
        self.shape = shape

    def numbers(self, *shape: int) -> Floats:
        """Random multiples of 2^-bits, up to 1."""
        top = 2**self.bits
        return self.rng.integers(-top, top + 1, shape) / float(top)

    def add(self, node: Node) -> Sketch:
        self.shape = node.output_shape(self.shape)
        self.nodes.append(node)
        return self

    @property
    def next(self) -> tuple[str, tuple[str, ...]]:
        return f"layer{len(self.nodes)}", (self.nodes[-1].name,)

    def conv(
        self,
        filters: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> Sketch:
        weights = self.numbers(*kernel, self.shape[2], filters)
        bias = self.numbers(filters)
        return self.add(Conv2D(*self.next, weights, bias, strides, dilation, padding))

    def pool(
        self, pool: tuple[int, int] = (2, 2), strides: tuple[int, int] | None = None
    ) -> Sketch:
        return self.add(AveragePooling2D(*self.next, pool, strides or pool))

    def dense(self, outputs: int) -> Sketch:
        weights = self.numbers(self.shape[-1], outputs)
        return self.add(Dense(*self.next, weights, self.numbers(outputs)))

    def relu(self) -> Sketch:
        return self.add(Relu(*self.next))

    def flatten(self) -> Sketch:
        return self.add(Flatten(*self.next))

    def identity(self) -> Sketch:
        return self.add(Identity(*self.next))

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.nodes))

    def inputs(self, count: int, bits: int = 4) -> Floats:
        """Random multiples of 2^-bits between -1 and 1."""
        shape = (count, *self.nodes[0].output_shape(()))
        return self.rng.integers(-(2**bits), 2**bits + 1, shape) / float(2**bits)


def tutorial(seed: int = 1) -> Graph:
    """The tutorial network: three convolutions, each with average pooling and ReLU, and a dense."""
    sketch = Sketch((28, 28, 1), seed)
    for filters in (10, 32, 64):
        sketch.conv(filters).pool().relu()
    sketch.flatten().dense(10)
    for node in sketch.nodes:  # the usual size of trained weights
        if isinstance(node, (Conv2D, Dense)):
            weights = node.kernel if isinstance(node, Conv2D) else node.weights
            weights *= 2 / math.sqrt(weights.size / weights.shape[-1])
    return sketch.graph

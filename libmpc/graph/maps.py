"""Linear maps in float64.

A map is x ↦ (s(x)·W) / divisor + b, where s sums over windows, or over none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

from libmpc.graph.nodes import Conv2D, Dense, Floats, Shape, slide
from libmpc.graph.plan import Window


@dataclass(frozen=True, eq=False)
class ConvMap:
    """A convolution: ``kernel`` (height, width, channels, filters), ``bias`` (filters,).

    It reads an image of ``input_shape``, the last of ``sums``: the windows that come before it, in
    order, each with the name of its layer.
    """

    names: tuple[str, ...]
    input_shape: Shape
    kernel: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    divisor: int = 1
    sums: tuple[tuple[str, Window], ...] = ()

    @property
    def output_shape(self) -> Shape:
        window = (self.kernel.shape[0], self.kernel.shape[1])
        places = slide(self.input_shape, window, self.strides, self.dilation, self.padding)
        return (*places, self.kernel.shape[3])


@dataclass(frozen=True, eq=False)
class DenseMap:
    """``rows`` times the same matrix: ``weights`` (inputs, outputs), ``bias`` (outputs,).

    ``sums`` as in ``ConvMap``; where there are any, there is one row.
    """

    names: tuple[str, ...]
    rows: int
    weights: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    divisor: int = 1
    sums: tuple[tuple[str, Window], ...] = ()


LinearMap: TypeAlias = ConvMap | DenseMap


def linear_map(node: Conv2D | Dense, shape: Shape, divisor: int = 1) -> LinearMap:
    """One layer as a map on inputs of ``shape``. A dense layer on an image is a 1x1 convolution."""
    name = (node.name,)
    if isinstance(node, Conv2D):
        return ConvMap(
            name,
            shape,
            node.kernel,
            node.bias,
            node.strides,
            node.dilation,
            node.padding,
            divisor,
        )
    if len(shape) == 3:
        return ConvMap(name, shape, node.weights[None, None], node.bias, divisor=divisor)
    rows = math.prod(shape[:-1])
    return DenseMap(name, rows, node.weights, node.bias, divisor)

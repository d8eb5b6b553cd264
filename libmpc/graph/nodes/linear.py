"""Linear nodes: with the owner's constants, and sums."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from libmpc.graph.nodes.base import (
    Floats,
    Node,
    Padding,
    Pair,
    SameShape,
    Shape,
    require_image,
    slide,
)


@dataclass(frozen=True, eq=False)
class Dense(Node):
    """x·W + b over the last axis; ``weights`` (inputs, outputs), ``bias`` (outputs,)."""

    weights: Floats = field(repr=False)
    bias: Floats = field(repr=False)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if shape[-1] != self.weights.shape[0]:
            raise self.refuse(f"takes {self.weights.shape[0]} values, its input has {shape[-1]}")
        return (*shape[:-1], self.weights.shape[1])


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Cross-correlation; ``kernel`` (height, width, channels / groups, filters), ``bias``
    (filters,).

    ``padding`` is zeros at top, bottom, left, right. Filters and channels belong to ``groups`` of
    consecutive ones; depthwise is ``groups == channels``.
    """

    kernel: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    strides: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        require_image(self, shape)
        height, width, channels, filters = self.kernel.shape
        if shape[-1] != channels * self.groups or filters % self.groups:
            raise self.refuse(
                f"takes {channels * self.groups} channels, its input has {shape[-1]}; images must "
                "have their channels last"
            )
        sizes = slide(self, shape, (height, width), self.strides, self.dilation, self.padding)
        return (*shape[:-3], *sizes, filters)


@dataclass(frozen=True, eq=False)
class Scale(SameShape):
    """x·factor + offset, both repeated into x's shape by numpy's rules."""

    factor: Floats = field(repr=False)
    offset: Floats = field(repr=False)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        for constant in (self.factor, self.offset):
            try:
                fits = np.broadcast_shapes(constant.shape, shape) == shape
            except ValueError:
                fits = False
            if not fits:
                raise self.refuse(f"a constant of shape {constant.shape} does not fit {shape}")
        return shape


@dataclass(frozen=True, eq=False)
class Add(SameShape):
    """The sum of values of one shape, each times an integer of ``coefficients``."""

    coefficients: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SumPool(Node):
    """Sums over windows, channel by channel; ``padding`` as in ``Conv``."""

    kernel: Pair
    strides: Pair
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        require_image(self, shape)
        sizes = slide(self, shape, self.kernel, self.strides, self.dilation, self.padding)
        return (*shape[:-3], *sizes, shape[-1])


@dataclass(frozen=True, eq=False)
class Sum(Node):
    """Sums over whole axes (rising), which go; over all of them: shape (1,)."""

    axes: tuple[int, ...]

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return tuple(d for axis, d in enumerate(shape) if axis not in self.axes) or (1,)

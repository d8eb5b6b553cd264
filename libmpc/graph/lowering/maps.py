"""Linear maps in float64, without biases: what is folded until it becomes one step.

A map reads the value of one masked step; a convolution or a matrix maybe the last of ``sums``:
sums over windows that come before it, in order, each with the name of its layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

from libmpc.graph.nodes import Floats, Padding, Pair, Shape
from libmpc.graph.plan import Window

Sums: TypeAlias = tuple[tuple[str, Window], ...]
Names: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ConvMap:
    """A convolution of ``images`` images (height, width, channels).

    ``kernel`` is (height, width, channels / groups, filters); filters of a group read the
    channels of their group.
    """

    names: Names
    image: Shape
    kernel: Floats = field(repr=False)
    strides: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    images: int = 1
    sums: Sums = ()

    @property
    def window(self) -> Window:
        height, width, channels = self.image
        return Window(
            height=height,
            width=width,
            channels=channels,
            kernel=(self.kernel.shape[0], self.kernel.shape[1]),
            strides=self.strides,
            dilation=self.dilation,
            padding=self.padding,
        )

    @property
    def after(self) -> Shape:
        """Height, width and filters of one image of the result."""
        return (*self.window.output_size, self.kernel.shape[3])

    @property
    def cost(self) -> int:
        """Multiplications and weights."""
        weights = math.prod(self.kernel.shape)
        return self.images * math.prod(self.after[:2]) * weights + weights


@dataclass(frozen=True, eq=False)
class DenseMap:
    """``rows`` times the same matrix: ``weights`` (inputs, outputs). With sums: one row."""

    names: Names
    rows: int
    weights: Floats = field(repr=False)
    sums: Sums = ()

    @property
    def cost(self) -> int:
        """Multiplications and weights."""
        return (self.rows + 1) * math.prod(self.weights.shape)


@dataclass(frozen=True, eq=False)
class ScaleMap:
    """Values of ``shape``, each times its factor; ``factor`` has their rank and repeats."""

    names: Names
    shape: Shape
    factor: Floats = field(repr=False)

    @property
    def cost(self) -> int:
        """Multiplications and weights."""
        return math.prod(self.shape) + self.factor.size


LinearMap: TypeAlias = ConvMap | DenseMap | ScaleMap

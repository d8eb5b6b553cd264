"""Products and comparisons of secrets, and what is left to the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from libmpc.graph.nodes.base import Node, Padding, Pair, SameShape, Shape, require_image, slide

FinalActivation: TypeAlias = Literal["softmax", "log_softmax", "sigmoid", "argmax"]


@dataclass(frozen=True, eq=False)
class Multiply(SameShape):
    """Two values, element by element."""


@dataclass(frozen=True, eq=False)
class Relu(SameShape):
    """max(x, 0)."""


@dataclass(frozen=True, eq=False)
class Maximum(SameShape):
    """The larger of two values, element by element."""


@dataclass(frozen=True, eq=False)
class Minimum(SameShape):
    """The smaller of two values, element by element."""


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """The largest value of every window, channel by channel; what ``padding`` adds is ignored."""

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
class Sign(SameShape):
    """1, 0 or -1."""


@dataclass(frozen=True, eq=False)
class Final(Node):
    """What the client does with the logits in the clear; only as the last node."""

    kind: FinalActivation
    axis: int = -1

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

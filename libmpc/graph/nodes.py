"""A network as data: one frozen node type per operation, joined by the names of what they read.

Shapes are per sample. Images are height, width, channels, as the last three axes; axes before them
count images. Weights are float64 arrays (importers widen float32, which is exact); a node's
``repr`` has shapes and never a weight. Importers make these nodes with ``builder.GraphBuilder``;
what is not here is made of what is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import ModelError
from libmpc.graph.plan import MAX_DIM, MAX_RANK, MAX_VALUES

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[int, int, int, int]
Floats: TypeAlias = NDArray[np.float64]
FinalActivation: TypeAlias = Literal["softmax", "log_softmax", "sigmoid", "argmax"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: its name, and the names of the nodes whose values it reads.

    Names begin with the layer's name in the user's file, so that messages can name it.
    """

    name: str
    inputs: tuple[str, ...]

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape that this makes from its inputs'; ``ModelError`` if it cannot."""
        raise NotImplementedError

    def refuse(self, problem: str) -> ModelError:
        """The error that names this layer."""
        return ModelError(f"layer {self.name!r} ({type(self).__name__}): {problem}")


class _SameShape(Node):
    """The result has the shape of every input."""

    def output_shape(self, *shapes: Shape) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise self.refuse(f"its inputs have different shapes: {list(shapes)}")
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The client's input; it reads nothing."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        return self.shape


# ---- linear, with the owner's constants


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
class Scale(_SameShape):
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


# ---- linear, without constants


@dataclass(frozen=True, eq=False)
class Add(_SameShape):
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


# ---- moves


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """The same values in another shape."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        if math.prod(shapes[0]) != math.prod(self.shape):
            raise self.refuse(f"{shapes[0]} cannot become {self.shape}")
        return self.shape


@dataclass(frozen=True, eq=False)
class Transpose(Node):
    """Axis i of the result is axis ``order[i]`` of the input."""

    order: tuple[int, ...]

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if sorted(self.order) != list(range(len(shape))):
            raise self.refuse(f"the order {self.order} does not fit the shape {shape}")
        return tuple(shape[axis] for axis in self.order)


@dataclass(frozen=True, eq=False)
class Slice(Node):
    """Along every axis ``sizes`` places from ``starts``, ``strides`` apart (maybe negative)."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        places = zip(shape, self.starts, self.sizes, self.strides, strict=True)
        if any(
            size < 1 or not 0 <= start < dim or not 0 <= start + (size - 1) * stride < dim
            for dim, start, size, stride in places
        ):
            raise self.refuse(f"the slice does not lie inside its input of shape {shape}")
        return self.sizes


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """``value`` before and after, and ``between`` times between, the values along every axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    between: tuple[int, ...]
    value: float = 0.0

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return tuple(
            b + dim + (dim - 1) * gap + a
            for dim, b, a, gap in zip(shape, self.before, self.after, self.between, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """One value after the other along an axis."""

    axis: int

    def output_shape(self, *shapes: Shape) -> Shape:
        first, axis = shapes[0], self.axis
        for shape in shapes:
            if len(shape) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i != axis
            ):
                raise self.refuse(f"its inputs' shapes differ beside axis {axis}: {list(shapes)}")
        return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


@dataclass(frozen=True, eq=False)
class Expand(Node):
    """Repeats the value where its shape has 1, up to ``shape``; both have one rank."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if len(shape) != len(self.shape) or any(
            s not in (1, t) for s, t in zip(shape, self.shape, strict=True)
        ):
            raise self.refuse(f"{shape} cannot be repeated into {self.shape}")
        return self.shape


# ---- products and comparisons of secrets


@dataclass(frozen=True, eq=False)
class Multiply(_SameShape):
    """Two values, element by element."""


@dataclass(frozen=True, eq=False)
class Relu(_SameShape):
    """max(x, 0)."""


@dataclass(frozen=True, eq=False)
class Maximum(_SameShape):
    """The larger of two values, element by element."""


@dataclass(frozen=True, eq=False)
class Minimum(_SameShape):
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
class Sign(_SameShape):
    """1, 0 or -1."""


@dataclass(frozen=True, eq=False)
class Final(Node):
    """What the client does with the logits in the clear; only as the last node."""

    kind: FinalActivation
    axis: int = -1

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: one ``Input``, which comes first; every node follows what it reads; the last node
    is the output. Made and checked by ``builder.GraphBuilder``.

    Attributes:
        nodes: in order.
        shapes: of every node's value, by name.
    """

    nodes: tuple[Node, ...]
    shapes: dict[str, Shape]

    @property
    def readers(self) -> dict[str, int]:
        """How many reads every value has; the last node's counts as read once more."""
        count = {node.name: 0 for node in self.nodes}
        count[self.nodes[-1].name] = 1
        for node in self.nodes:
            for name in node.inputs:
                count[name] += 1
        return count


def check_shape(shape: Shape, node: Node) -> None:
    """``ModelError`` where a shape is beyond what a plan may have."""
    if not 1 <= len(shape) <= MAX_RANK or not all(1 <= dim <= MAX_DIM for dim in shape):
        raise node.refuse(
            f"the shape {shape} is not supported: 1 to {MAX_RANK} sizes, up to {MAX_DIM}"
        )
    if math.prod(shape) > MAX_VALUES:
        raise node.refuse(f"the shape {shape} has more than {MAX_VALUES} values")


def slide(
    node: Node,
    shape: Shape,
    window: Pair,
    strides: Pair,
    dilation: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
) -> Pair:
    """How many places a window has, down and across an image.

    Raises:
        ModelError: none, or one of the numbers makes no sense.
    """
    if min((*window, *strides, *dilation)) < 1 or min(padding) < 0:
        raise node.refuse("kernel, strides and dilation must be positive, and no padding negative")
    rows, columns = (
        (shape[axis - 3] + before + after - (window[axis] - 1) * dilation[axis] - 1)
        // strides[axis]
        + 1
        for axis, before, after in ((0, *padding[:2]), (1, *padding[2:]))
    )
    if min(rows, columns) < 1:
        raise node.refuse(f"the window {window} is larger than the image {shape[-3:-1]}")
    return rows, columns


def require_image(node: Node, shape: Shape) -> None:
    """``ModelError`` where a value has not the three axes of an image."""
    if len(shape) < 3:
        raise node.refuse(f"needs an image (height, width, channels), its input has {shape}")

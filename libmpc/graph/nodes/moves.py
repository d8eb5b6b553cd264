"""Nodes that move values, and compute nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from libmpc.graph.nodes.base import Node, Shape


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

"""Steps that every party does alone, alike on values, masks and shares: sums and moves."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from libmpc.graph.plan.base import (
    MAX_DIM,
    MAX_RANK,
    BaseStep,
    Dim,
    Dims,
    Elementwise,
    Index,
    Kind,
    OneSource,
    Shape,
)
from libmpc.graph.plan.window import Window

Offsets = Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_DIM)], ...], Field(max_length=MAX_RANK)]
Coefficient = Annotated[int, Field(ge=-256, le=256)]


class _Move(OneSource):
    """Reads a value of ``shape``."""

    shape: Shape

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (math.prod(self.shape),)


class SumPoolStep(OneSource):
    """Sums over windows, channel by channel, of ``images`` images."""

    op: Literal["sum_pool"] = "sum_pool"
    window: Window
    images: Dim = 1

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.images * self.window.input_size,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        image = (*self.window.output_size, self.window.channels)
        return (self.images, *image) if self.images > 1 else image


class SumStep(_Move):
    """Sums over whole axes, which go; summing over all of them leaves the shape (1,)."""

    op: Literal["sum"] = "sum"
    axes: Annotated[tuple[int, ...], Field(min_length=1, max_length=MAX_RANK)]

    @property
    def output_shape(self) -> tuple[int, ...]:
        kept = tuple(d for axis, d in enumerate(self.shape) if axis not in self.axes)
        return kept or (1,)

    @model_validator(mode="after")
    def _sensible(self) -> SumStep:
        if (
            sorted(set(self.axes)) != list(self.axes)
            or not 0 <= self.axes[0]
            or not (self.axes[-1] < len(self.shape))
        ):
            raise ValueError("the axes must rise and lie inside the shape")
        return self


class AddStep(BaseStep):
    """The sum of values of one shape and kind, each times a public integer."""

    op: Literal["add"] = "add"
    inputs: Annotated[tuple[Index, ...], Field(min_length=1, max_length=64)]
    coefficients: Annotated[tuple[Coefficient, ...], Field(min_length=1, max_length=64)]
    shape: Shape

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (math.prod(self.shape),) * len(self.inputs)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape

    @model_validator(mode="after")
    def _pairs(self) -> AddStep:
        if len(self.inputs) != len(self.coefficients):
            raise ValueError("every input needs a coefficient")
        return self


class LiftStep(Elementwise):
    """masked x → additive x·2^16, that is, the same number at scale 2^32."""

    op: Literal["lift"] = "lift"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "additive"


class PermuteStep(_Move):
    """Axes in another order: axis i of the result is axis ``order[i]`` of the source."""

    op: Literal["permute"] = "permute"
    order: Offsets

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.order)

    @model_validator(mode="after")
    def _order(self) -> PermuteStep:
        if sorted(self.order) != list(range(len(self.shape))):
            raise ValueError("the order must name every axis once")
        return self


class SliceStep(_Move):
    """Along every axis ``sizes`` places, from ``starts``, ``strides`` apart (maybe backwards)."""

    op: Literal["slice"] = "slice"
    starts: Offsets
    sizes: Dims
    strides: Annotated[
        tuple[Annotated[int, Field(ge=-MAX_DIM, le=MAX_DIM)], ...], Field(max_length=MAX_RANK)
    ]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.sizes

    @model_validator(mode="after")
    def _inside(self) -> SliceStep:
        rank = len(self.shape)
        if not len(self.starts) == len(self.sizes) == len(self.strides) == rank:
            raise ValueError("a slice needs start, size and stride for every axis")
        for dim, start, size, stride in zip(
            self.shape, self.starts, self.sizes, self.strides, strict=True
        ):
            if not stride or start >= dim or not 0 <= start + (size - 1) * stride < dim:
                raise ValueError("a slice must lie inside its source")
        return self


class PadStep(_Move):
    """A constant around, and ``between`` times between, the values along every axis.

    ``value`` is public, at scale 2^16; an additive value can only be padded with 0.
    """

    op: Literal["pad"] = "pad"
    before: Offsets
    after: Offsets
    between: Offsets
    value: Annotated[int, Field(gt=-(1 << 31), lt=1 << 31)] = 0

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(
            b + dim + (dim - 1) * gap + a
            for dim, b, a, gap in zip(
                self.shape, self.before, self.after, self.between, strict=True
            )
        )

    @model_validator(mode="after")
    def _ranks(self) -> PadStep:
        if not len(self.before) == len(self.after) == len(self.between) == len(self.shape):
            raise ValueError("padding needs before, after and between for every axis")
        return self


class ConcatStep(BaseStep):
    """Values one after the other along an axis; ``shapes`` are theirs, in order."""

    op: Literal["concat"] = "concat"
    inputs: Annotated[tuple[Index, ...], Field(min_length=1, max_length=1024)]
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1, max_length=1024)]
    axis: Annotated[int, Field(ge=0, lt=MAX_RANK)]

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        first = self.shapes[0]
        total = sum(shape[self.axis] for shape in self.shapes)
        return (*first[: self.axis], total, *first[self.axis + 1 :])

    @model_validator(mode="after")
    def _alike(self) -> ConcatStep:
        if len(self.inputs) != len(self.shapes) or self.axis >= len(self.shapes[0]):
            raise ValueError("every input needs a shape that has the axis")
        rest = {(*s[: self.axis], *s[self.axis + 1 :]) for s in self.shapes}
        if len(rest) != 1 or len({len(s) for s in self.shapes}) != 1:
            raise ValueError("shapes may differ along the axis only")
        return self


class ExpandStep(_Move):
    """Repeats the value along every axis where ``shape`` has 1, up to ``target``."""

    op: Literal["expand"] = "expand"
    target: Shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.target

    @model_validator(mode="after")
    def _fits(self) -> ExpandStep:
        if len(self.shape) != len(self.target) or any(
            s not in (1, t) for s, t in zip(self.shape, self.target, strict=True)
        ):
            raise ValueError("only axes of size 1 can repeat")
        return self

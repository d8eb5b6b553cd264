"""Steps with the owner's secret constants: weights (scale 2^16) and biases (scale 2^32)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import model_validator

from libmpc.graph.plan.base import Dim, Dims, Elementwise, Kind, OneSource
from libmpc.graph.plan.window import Window


class DenseStep(OneSource):
    """masked (rows, inputs) times a secret matrix (inputs, outputs), plus bias (outputs,)."""

    op: Literal["dense"] = "dense"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "additive"
    rows: Dim = 1
    inputs: Dim
    outputs: Dim

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.rows * self.inputs,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.rows, self.outputs) if self.rows > 1 else (self.outputs,)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.inputs, self.outputs)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.outputs,)

    @property
    def macs(self) -> int:
        """Multiplications per sample."""
        return self.rows * self.inputs * self.outputs


class ConvStep(OneSource):
    """masked images convolved with a secret kernel, plus bias (filters,).

    The input is ``images`` images, one after the other. Channels and filters are cut into
    ``groups`` of equal, consecutive parts; filters of a group read its channels only. Weights are
    (kernel height · kernel width · channels / groups, filters), rows in that order.
    """

    op: Literal["conv"] = "conv"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "additive"
    window: Window
    filters: Dim
    groups: Dim = 1
    images: Dim = 1

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.images * self.window.input_size,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        image = (*self.window.output_size, self.filters)
        return (self.images, *image) if self.images > 1 else image

    @property
    def weight_shape(self) -> tuple[int, ...]:
        kernel = self.window.kernel
        return (kernel[0] * kernel[1] * (self.window.channels // self.groups), self.filters)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.filters,)

    @property
    def macs(self) -> int:
        """Multiplications per sample."""
        return self.images * math.prod(self.window.output_size) * math.prod(self.weight_shape)

    @model_validator(mode="after")
    def _divisible(self) -> ConvStep:
        if self.window.channels % self.groups or self.filters % self.groups:
            raise ValueError("groups must divide channels and filters")
        return self


class _Broadcast(Elementwise):
    """``factor_shape`` has the rank of ``shape``; where it has 1, the constant repeats."""

    factor_shape: Dims

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return self.factor_shape

    @model_validator(mode="after")
    def _broadcasts(self) -> _Broadcast:
        fits = len(self.factor_shape) == len(self.shape) and all(
            f in (1, s) for f, s in zip(self.factor_shape, self.shape, strict=True)
        )
        if not fits:
            raise ValueError("the factors' shape must repeat into the value's shape")
        return self


class ScaleStep(_Broadcast):
    """masked x, value by value times secret factors, plus bias; both of ``factor_shape``."""

    op: Literal["scale"] = "scale"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "additive"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.factor_shape

    @property
    def macs(self) -> int:
        """Multiplications per sample."""
        return self.size


class BiasStep(_Broadcast):
    """additive z plus a secret constant of ``factor_shape``; it has no weights."""

    op: Literal["bias"] = "bias"
    takes: ClassVar[Kind | None] = "additive"
    makes: ClassVar[Kind | None] = "additive"

    @property
    def weight_shape(self) -> None:
        return None

    @property
    def macs(self) -> int:
        """Multiplications per sample: none."""
        return 0

"""Steps in which parties talk, or secrets meet: input, output, products and comparisons."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from libmpc.graph.plan.base import BaseStep, Elementwise, Index, Kind, Shape


class InputStep(BaseStep):
    """The client's additive shares at scale 2^16 become a masked value."""

    op: Literal["input"] = "input"
    makes: ClassVar[Kind | None] = "masked"
    shape: Shape

    @property
    def reads(self) -> tuple[int, ...]:
        return ()

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape


class ProductStep(BaseStep):
    """Two masked values, value by value: additive a·b. No message."""

    op: Literal["product"] = "product"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "additive"
    inputs: tuple[Index, Index]
    shape: Shape

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (math.prod(self.shape),) * 2

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape


class ReluStep(Elementwise):
    """additive z → masked max(⌊z / 2^16⌋, 0). Exact for -2^47 + 2^16 ≤ z ≤ 2^47."""

    op: Literal["relu"] = "relu"
    takes: ClassVar[Kind | None] = "additive"
    makes: ClassVar[Kind | None] = "masked"


class TruncateStep(Elementwise):
    """additive z → masked ⌊z / 2^16⌋. Exact for -2^46 ≤ z ≤ 2^46."""

    op: Literal["truncate"] = "truncate"
    takes: ClassVar[Kind | None] = "additive"
    makes: ClassVar[Kind | None] = "masked"


class RectifyStep(Elementwise):
    """masked x → masked max(x, 0). Exact for -2^31 + 1 ≤ x ≤ 2^31 (units of 2^-16)."""

    op: Literal["rectify"] = "rectify"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "masked"


class PositiveStep(Elementwise):
    """masked x → masked 2^16 where x ≥ 1, else 0. Exact for the same x as ``rectify``."""

    op: Literal["positive"] = "positive"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "masked"


class OutputStep(Elementwise):
    """additive z → the re-randomised shares at scale 2^32 that leave for the client."""

    op: Literal["output"] = "output"
    takes: ClassVar[Kind | None] = "additive"
    makes: ClassVar[Kind | None] = "additive"

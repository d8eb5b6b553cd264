"""What every step of a plan has: what it reads, what it makes, and the bounds on both."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

MAX_STEPS = 4096
MAX_RANK = 8
MAX_DIM = 1 << 28
MAX_VALUES = 1 << 28  # per sample and step

Dim = Annotated[int, Field(ge=1, le=MAX_DIM)]
Dims = Annotated[tuple[Dim, ...], Field(max_length=MAX_RANK)]
Shape = Annotated[tuple[Dim, ...], Field(min_length=1, max_length=MAX_RANK)]
Index = Annotated[int, Field(ge=0, lt=MAX_STEPS)]

Kind: TypeAlias = Literal["masked", "additive", "bits"]
"""How a step's value is held.

``masked``: scale 2^16; both evaluators know m = x + λ_0 + λ_1, evaluator j also λ_j, the dealer
λ_0 and λ_1. ``additive``: scale 2^32; z = z_0 + z_1 + d, where evaluator j knows z_j and only the
dealer knows d. ``bits``: b = b_0 ⊕ b_1 between the evaluators, of which the dealer knows nothing;
a word of value 0 or 1 each in memory (``tail``).
"""


class Part(BaseModel):
    """Base of everything in a plan: immutable, closed, strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __copy__(self) -> Self:
        """What was worked out from the fields stays behind: ``model_copy`` may change them."""
        copied = super().__copy__()
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class BaseStep(Part):
    """One step; ``op`` names it in the encoding."""

    takes: ClassVar[Kind | None] = None
    """Kind of every source; ``None``: masked or additive, and all of them the same."""
    takes_each: ClassVar[tuple[Kind, ...] | None] = None
    """Kind of each source, where they differ."""
    makes: ClassVar[Kind | None] = None
    """Kind of the result; ``None``: that of the sources."""

    @property
    def reads(self) -> tuple[int, ...]:
        """Indices of the steps whose values this one reads, in order."""
        raise NotImplementedError

    @property
    def read_sizes(self) -> tuple[int, ...]:
        """Values per sample that each source must have."""
        raise NotImplementedError

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the result."""
        raise NotImplementedError

    @cached_property
    def size(self) -> int:
        """Values per sample of the result."""
        return math.prod(self.output_shape)


class OneSource(BaseStep):
    """A step that reads one value."""

    source: Index

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.source,)


class Elementwise(OneSource):
    """A step whose result has the shape of what it reads."""

    shape: Shape

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (math.prod(self.shape),)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape

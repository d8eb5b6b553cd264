"""The plan: what the three parties run, step by step, as public data.

A plan has the architecture after folding and nothing that depends on a weight or an input. It is
the same for the owner, the parties and the reference; its digest is part of every bundle key and
of every run digest. Shapes are per sample (the batch dimension leads, and is not in the plan);
images are height, width, channels. A step reads the value of an earlier step, its ``source``,
given by index; flattening is implicit, since values are contiguous.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from libmpc.errors import ModelError

PLAN_VERSION: Literal[1] = 1
MAX_STEPS = 4096
MAX_DIM = 1 << 20
MAX_VALUES = 1 << 28  # per sample and step
MAX_WEIGHTS = 1 << 30
MAX_JSON_BYTES = 4 << 20

Dim = Annotated[int, Field(ge=1, le=MAX_DIM)]
Shape = Annotated[tuple[Dim, ...], Field(min_length=1, max_length=8)]


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def size(self) -> int:
        """Values per sample that this step produces."""
        return math.prod(self.output_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        raise NotImplementedError


class InputStep(_Step):
    """The client's additive shares at scale 2^16 become a masked value."""

    op: Literal["input"] = "input"
    shape: Shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape


class Window(BaseModel):
    """A sliding window over a height × width × channels image."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    height: Dim
    width: Dim
    channels: Dim
    kernel: tuple[Dim, Dim]
    strides: tuple[Dim, Dim] = (1, 1)
    dilation: tuple[Dim, Dim] = (1, 1)
    padding: Annotated[
        tuple[int, int, int, int], Field(description="zeros at top, bottom, left, right")
    ] = (0, 0, 0, 0)

    @property
    def output_size(self) -> tuple[int, int]:
        """Output height and width."""
        top, bottom, left, right = self.padding
        span_h = (self.kernel[0] - 1) * self.dilation[0] + 1
        span_w = (self.kernel[1] - 1) * self.dilation[1] + 1
        return (
            (self.height + top + bottom - span_h) // self.strides[0] + 1,
            (self.width + left + right - span_w) // self.strides[1] + 1,
        )

    @model_validator(mode="after")
    def _sensible(self) -> Window:
        if any(p < 0 or p > MAX_DIM for p in self.padding):
            raise ValueError("padding must not be negative")
        if min(self.output_size) < 1:
            raise ValueError("the window is larger than the image")
        return self


class SumPoolStep(_Step):
    """Sums over windows, channel by channel, of a masked value; local at every party."""

    op: Literal["sum_pool"] = "sum_pool"
    source: int
    window: Window

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (*self.window.output_size, self.window.channels)


class DenseStep(_Step):
    """masked (rows, inputs) times a secret matrix (inputs, outputs), plus bias: additive, 2^32."""

    op: Literal["dense"] = "dense"
    source: int
    rows: Dim = 1
    inputs: Dim
    outputs: Dim

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.rows, self.outputs) if self.rows > 1 else (self.outputs,)

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.inputs, self.outputs)

    @property
    def macs(self) -> int:
        """Multiplications per sample."""
        return self.rows * self.inputs * self.outputs


class ConvStep(_Step):
    """masked image convolved with a secret kernel, plus bias: additive, scale 2^32.

    The weight matrix is (kernel height · kernel width · channels, filters), rows in that order.
    """

    op: Literal["conv"] = "conv"
    source: int
    window: Window
    filters: Dim

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (*self.window.output_size, self.filters)

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.window.kernel[0] * self.window.kernel[1] * self.window.channels, self.filters)

    @property
    def macs(self) -> int:
        """Multiplications per sample."""
        return math.prod(self.window.output_size) * math.prod(self.weight_shape)


class ReluStep(_Step):
    """additive at scale 2^32 → masked ReLU(⌊z / 2^16⌋) at scale 2^16; opens z under a mask."""

    op: Literal["relu"] = "relu"
    source: int
    shape: Shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape


class OutputStep(_Step):
    """additive at scale 2^32 → the re-randomised shares that leave for the client."""

    op: Literal["output"] = "output"
    source: int
    shape: Shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape


LinearStep = DenseStep | ConvStep
Step = Annotated[
    InputStep | SumPoolStep | DenseStep | ConvStep | ReluStep | OutputStep,
    Field(discriminator="op"),
]

_READS: dict[str, tuple[str, ...]] = {
    "sum_pool": ("input", "sum_pool", "relu"),
    "dense": ("input", "sum_pool", "relu"),
    "conv": ("input", "sum_pool", "relu"),
    "relu": ("dense", "conv"),
    "output": ("dense", "conv"),
}


class Plan(BaseModel):
    """A network as the parties run it. Immutable; compare and hash plans by ``digest``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = PLAN_VERSION
    width: Annotated[int, Field(description="bits of the ring")] = 48
    steps: Annotated[tuple[Step, ...], Field(min_length=3, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if self.width != 48:
            raise ValueError(f"ring width {self.width} is not supported, only 48")
        ops = [s.op for s in self.steps]
        if ops[0] != "input" or "input" in ops[1:]:
            raise ValueError("the first step, and no other, must be the input")
        if ops[-1] != "output" or "output" in ops[:-1]:
            raise ValueError("the last step, and no other, must be the output")
        readers = [0] * len(self.steps)
        weights = 0
        for index, step in enumerate(self.steps):
            if step.size > MAX_VALUES:
                raise ValueError(f"step {index} has more than {MAX_VALUES} values")
            if isinstance(step, InputStep):
                continue
            if not 0 <= step.source < index:
                raise ValueError(f"step {index} reads step {step.source}, which is not before it")
            source = self.steps[step.source]
            readers[step.source] += 1
            if source.op not in _READS[step.op]:
                raise ValueError(f"step {index} ({step.op}) cannot read a value of {source.op}")
            if isinstance(step, DenseStep):
                takes = step.rows * step.inputs
            elif isinstance(step, (ConvStep, SumPoolStep)):
                takes = step.window.height * step.window.width * step.window.channels
            else:
                takes = step.size
            if takes != source.size:
                raise ValueError(f"step {index} takes {takes} values, its source has {source.size}")
            if isinstance(step, (DenseStep, ConvStep)):
                weights += math.prod(step.weight_shape)
        if weights > MAX_WEIGHTS:
            raise ValueError(f"more than {MAX_WEIGHTS} weights")
        # Each value has one reader: its mask's product with the weights is part of one opening.
        if any(n != 1 for n in readers[:-1]):
            raise ValueError("every step but the last must be read by exactly one other")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.steps[0].output_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.steps[-1].output_shape

    @property
    def linear_steps(self) -> dict[int, DenseStep | ConvStep]:
        """The steps that have weights, by index, in order."""
        return {i: s for i, s in enumerate(self.steps) if isinstance(s, (DenseStep, ConvStep))}

    def to_json(self) -> bytes:
        """The canonical encoding: sorted keys, no white space, every field present."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """Parse a plan from a stranger.

        Raises:
            ModelError: it is too large, no JSON, or no consistent plan.
        """
        if len(data) > MAX_JSON_BYTES:
            raise ModelError(f"the plan has more than {MAX_JSON_BYTES} bytes")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise ModelError(f"not a valid plan: {first['msg']}") from None

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical encoding (32 bytes)."""
        return hashlib.sha256(self.to_json()).digest()

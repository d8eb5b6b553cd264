"""The plan itself: a list of steps that fit together, its canonical encoding and its digest."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import FailFast, Field, ValidationError, model_validator

from libmpc.errors import ModelError
from libmpc.graph.plan.base import MAX_STEPS, MAX_VALUES, Kind, Part
from libmpc.graph.plan.interactive import (
    InputStep,
    OutputStep,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    TruncateStep,
)
from libmpc.graph.plan.linear import BiasStep, ConvStep, DenseStep, ScaleStep
from libmpc.graph.plan.moves import (
    AddStep,
    ConcatStep,
    ExpandStep,
    LiftStep,
    PadStep,
    PermuteStep,
    SliceStep,
    SumPoolStep,
    SumStep,
)
from libmpc.graph.plan.tail import (
    IndexStep,
    LabelsStep,
    MaskStep,
    MatchStep,
    OffsetStep,
    OutputBitsStep,
    PickBitsStep,
    PickStep,
    ShiftStep,
    TallyStep,
    TopStep,
)

PLAN_VERSION: Literal[2] = 2
MAX_WEIGHTS = 1 << 30
MAX_JSON_BYTES = 4 << 20
MAX_JSON_VALUES = 1 << 17
_MAX_FAULTS = 256

WeightedStep = DenseStep | ConvStep | ScaleStep
LinearStep = WeightedStep | BiasStep
MoveStep = (
    SumPoolStep | SumStep | AddStep | PermuteStep | SliceStep | PadStep | ConcatStep | ExpandStep
)
Step = (
    InputStep
    | DenseStep
    | ConvStep
    | ScaleStep
    | BiasStep
    | SumPoolStep
    | SumStep
    | AddStep
    | LiftStep
    | PermuteStep
    | SliceStep
    | PadStep
    | ConcatStep
    | ExpandStep
    | ProductStep
    | ReluStep
    | TruncateStep
    | RectifyStep
    | PositiveStep
    | MaskStep
    | TopStep
    | IndexStep
    | PickStep
    | PickBitsStep
    | LabelsStep
    | MatchStep
    | TallyStep
    | OffsetStep
    | ShiftStep
    | OutputStep
    | OutputBitsStep
)
_AnyStep = Annotated[Step, Field(discriminator="op")]


class Plan(Part):
    """A network as the parties run it. Immutable; compare and hash plans by ``digest``."""

    version: Literal[2] = PLAN_VERSION
    width: Annotated[int, Field(description="bits of the ring")] = 48
    # SECURITY: to describe every wrong step of 4 MB takes 20 s.
    steps: Annotated[tuple[_AnyStep, ...], Field(min_length=2, max_length=MAX_STEPS), FailFast()]

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if self.width != 48:
            raise ValueError(f"ring width {self.width} is not supported, only 48")
        ops = [s.op for s in self.steps]
        if ops[0] != "input" or "input" in ops[1:]:
            raise ValueError("the first step, and no other, must be the input")
        ends = {"output", "output_bits"}
        if ops[-1] not in ends or ends.intersection(ops[:-1]):
            raise ValueError("the last step, and no other, must be the output")
        if ops.count("labels") > 1:
            raise ValueError("there can be one step that takes labels")
        kinds: list[Kind] = []
        for index, step in enumerate(self.steps):
            kinds.append(self._check(index, step, kinds))
        read = {source for step in self.steps for source in step.reads}
        if read != set(range(len(self.steps) - 1)):
            raise ValueError("every step but the last must be read by another")
        weights = sum(
            math.prod(s.weight_shape or ()) + math.prod(s.bias_shape)
            for s in self.linear_steps.values()
        )
        if weights > MAX_WEIGHTS:
            raise ValueError(f"more than {MAX_WEIGHTS} weights")
        return self

    def _check(self, index: int, step: Step, kinds: list[Kind]) -> Kind:
        """The kind of a step's value, once it fits what it reads."""
        # Shapes are checked before the size, which multiplies what was checked.
        if not 1 <= len(step.output_shape) <= 8 or min(step.output_shape) < 1:
            raise ValueError(f"step {index} has a result without values")
        if step.size > MAX_VALUES:
            raise ValueError(f"step {index} has more than {MAX_VALUES} values")
        for source, size in zip(step.reads, step.read_sizes, strict=True):
            if source >= index:
                raise ValueError(f"step {index} reads step {source}, which is not before it")
            if size != self.steps[source].size:
                raise ValueError(
                    f"step {index} takes {size} values, its source has {self.steps[source].size}"
                )
        each = tuple(kinds[source] for source in step.reads)
        read = set(each)
        if step.takes_each is not None:
            fits = each == step.takes_each
        elif step.takes is not None:
            fits = read == {step.takes}
        else:
            fits = len(read) <= 1 and "bits" not in read
        if not fits:
            raise ValueError(f"step {index} ({step.op}) cannot read values of kind {sorted(read)}")
        if isinstance(step, PadStep) and step.value and read != {"masked"}:
            raise ValueError(f"step {index}: an additive value can only be padded with 0")
        return step.makes or read.pop()

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """How each step's value is held."""
        kinds: list[Kind] = []
        for step in self.steps:
            kinds.append(step.makes or kinds[step.reads[0]])
        return tuple(kinds)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Values per sample of each step's result."""
        return tuple(step.size for step in self.steps)

    @cached_property
    def reads(self) -> tuple[tuple[int, ...], ...]:
        """For each step, the values that it reads, in order."""
        return tuple(step.reads for step in self.steps)

    @cached_property
    def last_reads(self) -> tuple[tuple[int, ...], ...]:
        """For each step, the values that nobody reads after it."""
        last = {source: index for index, step in enumerate(self.steps) for source in step.reads}
        ends: list[list[int]] = [[] for _ in self.steps]
        for source, index in last.items():
            ends[index].append(source)
        return tuple(tuple(sources) for sources in ends)

    @property
    def label_width(self) -> int | None:
        """Bits of each sample's label, if labels are a second input."""
        return next((s.width for s in self.steps if isinstance(s, LabelsStep)), None)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.steps[0].output_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.steps[-1].output_shape

    @cached_property
    def linear_steps(self) -> dict[int, LinearStep]:
        """The steps that have weights or biases, by index, in order."""
        return {
            i: s
            for i, s in enumerate(self.steps)
            if isinstance(s, (DenseStep, ConvStep, ScaleStep, BiasStep))
        }

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
        if data.count(b",") >= MAX_JSON_VALUES:
            raise ModelError(f"the plan has more than {MAX_JSON_VALUES} values")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            if error.error_count() > _MAX_FAULTS:  # pydantic tells of all of them, or of none
                raise ModelError("not a valid plan: too much of it is wrong") from None
            first = error.errors(include_input=False, include_url=False)[0]
            raise ModelError(f"not a valid plan: {first['msg']}") from None

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical encoding (32 bytes)."""
        return hashlib.sha256(self.to_json()).digest()

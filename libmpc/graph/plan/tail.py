"""Steps behind a network's logits: comparing them, and answering with less than all of them.

They occur in the plans that ``graph.tail`` derives from a model's, and not in a model's own. A
third kind of value is XOR shares of bits, complete between the evaluators.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from libmpc.graph.plan.base import BaseStep, Elementwise, Index, Kind, OneSource
from libmpc.graph.plan.groups import Groups
from libmpc.outputs import MAX_CANDIDATES

MAX_GROUP = 64
MAX_LABEL_BITS = 12
MAX_TALLY_BITS = 6

Candidates = Annotated[int, Field(ge=1, le=MAX_CANDIDATES)]
LabelBits = Annotated[int, Field(ge=1, le=MAX_LABEL_BITS)]


def label_bits(classes: int) -> int:
    """Bits of a label of so many classes; at least one."""
    return max(1, (classes - 1).bit_length())


class Grouped(BaseStep):
    """A step over candidates in groups of almost equal size, some of each of which win."""

    candidates: Candidates
    groups: Candidates = 1
    keep: Annotated[int, Field(ge=1, le=MAX_GROUP)] = 1

    @model_validator(mode="after")
    def _sizes(self) -> Grouped:
        if self.groups > self.candidates:
            raise ValueError("more groups than candidates")
        if self.form.sizes[-1] < self.keep or self.form.largest > MAX_GROUP:
            raise ValueError(f"a group has from {self.keep} to {MAX_GROUP} candidates")
        return self

    @cached_property
    def form(self) -> Groups:
        """The groups' sizes and places."""
        return Groups(self.candidates, self.groups, self.keep)

    @property
    def winners(self) -> int:
        """Of all groups."""
        return self.groups * self.keep


class MaskStep(Elementwise):
    """additive z → masked z, still at scale 2^32."""

    op: Literal["mask"] = "mask"
    takes: ClassVar[Kind | None] = "additive"
    makes: ClassVar[Kind | None] = "masked"


class TopStep(Grouped):
    """masked y → one-hot bits of the largest, second largest, … of each group.

    The lowest index goes first where values are equal. Exact where −2^47 ≤ y_i − y_j < 2^47 for
    all i < j of a group.
    """

    op: Literal["top"] = "top"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "bits"
    source: Index

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.source,)

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.candidates,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.keep * self.candidates,)


class IndexStep(Grouped):
    """One-hot bits → for each winner the bits of its candidate's number, lowest first. Local."""

    op: Literal["index"] = "index"
    takes: ClassVar[Kind | None] = "bits"
    makes: ClassVar[Kind | None] = "bits"
    source: Index

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.source,)

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.keep * self.candidates,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.winners, label_bits(self.candidates))


class PickStep(Grouped):
    """One-hot bits and masked candidates → the winners, masked anew."""

    op: Literal["pick"] = "pick"
    takes_each: ClassVar[tuple[Kind, ...] | None] = ("bits", "masked")
    makes: ClassVar[Kind | None] = "masked"
    inputs: tuple[Index, Index]

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.keep * self.candidates, self.candidates)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.winners,)


class PickBitsStep(Grouped):
    """One-hot bits and a word of bits for each candidate → the winners' words."""

    op: Literal["pick_bits"] = "pick_bits"
    takes_each: ClassVar[tuple[Kind, ...] | None] = ("bits", "bits")
    makes: ClassVar[Kind | None] = "bits"
    inputs: tuple[Index, Index]
    width: LabelBits

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.keep * self.candidates, self.candidates * self.width)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.winners, self.width)


class LabelsStep(BaseStep):
    """A second input: XOR shares of the bits of each sample's label, lowest first. Local."""

    op: Literal["labels"] = "labels"
    makes: ClassVar[Kind | None] = "bits"
    width: LabelBits

    @property
    def reads(self) -> tuple[int, ...]:
        return ()

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.width,)


class MatchStep(BaseStep):
    """Two numbers of ``width`` bits → additive integer 1 where they are equal, else 0."""

    op: Literal["match"] = "match"
    takes: ClassVar[Kind | None] = "bits"
    makes: ClassVar[Kind | None] = "additive"
    inputs: tuple[Index, Index]
    width: LabelBits

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.width, self.width)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (1,)


class TallyStep(BaseStep):
    """Two numbers a and b → additive (classes, classes): integer 1 at row a, column b, else 0."""

    op: Literal["tally"] = "tally"
    takes: ClassVar[Kind | None] = "bits"
    makes: ClassVar[Kind | None] = "additive"
    inputs: tuple[Index, Index]
    classes: Annotated[int, Field(ge=1, le=1 << MAX_TALLY_BITS)]

    @property
    def width(self) -> int:
        """Bits of each number."""
        return label_bits(self.classes)

    @property
    def reads(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.width, self.width)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.classes, self.classes)


class OffsetStep(Elementwise):
    """masked x → masked x + value, in integers. Local."""

    op: Literal["offset"] = "offset"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "masked"
    value: Annotated[int, Field(ge=-(1 << 47), lt=1 << 47)]


class ShiftStep(Elementwise):
    """masked x → additive x·2^bits. Local."""

    op: Literal["shift"] = "shift"
    takes: ClassVar[Kind | None] = "masked"
    makes: ClassVar[Kind | None] = "additive"
    bits: Annotated[int, Field(ge=0, le=32)]


class OutputBitsStep(OneSource):
    """Bits → the re-randomised XOR shares that leave for the client."""

    op: Literal["output_bits"] = "output_bits"
    takes: ClassVar[Kind | None] = "bits"
    makes: ClassVar[Kind | None] = "bits"
    numbers: Annotated[int, Field(ge=1, le=MAX_GROUP)]
    width: LabelBits

    @property
    def read_sizes(self) -> tuple[int, ...]:
        return (self.numbers * self.width,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.numbers, self.width)


TailStep = (
    MaskStep
    | TopStep
    | IndexStep
    | PickStep
    | PickBitsStep
    | LabelsStep
    | MatchStep
    | TallyStep
    | OffsetStep
    | ShiftStep
    | OutputBitsStep
)

"""What a client needs to know about a model, on the word of both evaluators."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from libmpc.wire.document import Document
from libmpc.wire.fields import (
    FinalActivation,
    FractionBits,
    Hex16,
    Hex32,
    Name,
    Output,
    Range,
    RangeStatus,
    Shape,
    Width,
)
from libmpc.wire.final import read_final


class Descriptor(Document):
    """A model's public face; party 0 and party 1 sign the same bytes.

    SECURITY: everything in here is public, so nothing may depend on a weight. The one exception is
    ``range_margin``, by which a calibrated model tells how far its values stayed from the limit;
    owners round it.

    Attributes:
        model: hexadecimal digest of the owner's manifest; queries are sealed for it.
        input_shape: per sample.
        input_range: smallest and largest value that a client may send.
        range_status: whether results are exact for every input of that range, or were only so on
            the samples that the owner tried.
        final_activation: what the client may apply to the logits to get what training saw (see
            ``libmpc.wire.final``).
        plan_digest: SHA-256 of the plan's canonical JSON.
    """

    LABEL: ClassVar[str] = "descriptor"

    deployment: Hex16
    name: Name
    model: Hex32
    input_shape: Shape
    input_range: Range
    output_shape: Shape
    output: Output = "logits"
    range_status: RangeStatus
    range_margin: float | None = None
    width: Width = 48
    fraction_bits: FractionBits = 16
    final_activation: FinalActivation = None
    plan_digest: Hex32

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_margin(self.range_status, self.range_margin)
        if -read_final(self.final_activation)[1] > len(self.output_shape):
            raise ValueError("the final activation's axis is not one of the output's")
        return self


def check_margin(status: RangeStatus, margin: float | None) -> None:
    """A calibrated range has a margin (at least 1), a proven one has none.

    Raises:
        ValueError: otherwise.
    """
    if status == "proven" and margin is not None:
        raise ValueError("a proven range has no margin")
    if status == "calibrated" and (margin is None or margin < 1):
        raise ValueError("a calibrated range needs a margin of at least 1")

"""The owner's word on a model: what it is, who may change it, and how it may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from libmpc.wire.context import context, sha256
from libmpc.wire.descriptor import Descriptor, check_margin
from libmpc.wire.document import Document
from libmpc.wire.errors import WireError
from libmpc.wire.fields import (
    MAX_LIFETIME_MS,
    BytesLike,
    Count,
    FinalActivation,
    Hex16,
    Hex32,
    Millis,
    Name,
    Output,
    Party,
    Range,
    RangeStatus,
    Shape,
)

MAX_PLAN_CHARS = 4 << 20


class Manifest(Document):
    """Sealed to every party with its share, signed by the owner.

    Attributes:
        plan: the plan's canonical JSON, as text; ``libmpc.graph.plan`` parses it.
        share_hashes: SHA-256 of each party's share payload.
        owner: the Ed25519 key whose commands on this model count.
        range_margin: limit over largest value seen, where the range is only calibrated.
        serve: whether the model answers as soon as it is stored.
        num_requests: how many requests it answers; ``None`` for no limit.
        replace: digest of the model of that name which this one replaces.
    """

    LABEL: ClassVar[str] = "manifest"
    MAX_BYTES: ClassVar[int] = 12 << 20
    MAX_VALUES: ClassVar[int] = (1 << 17) + 64  # those of the plan, as commas of its text

    deployment: Hex16
    name: Name
    plan: Annotated[str, Field(min_length=2, max_length=MAX_PLAN_CHARS)]
    share_hashes: tuple[Hex32, Hex32, Hex32]
    owner: Hex32
    input_range: Range
    range_status: RangeStatus
    range_margin: float | None = None
    output: Output = "logits"
    final_activation: FinalActivation = None
    serve: bool = False
    num_requests: Count | None = None
    replace: Hex32 | None = None
    issued_ms: Millis
    expires_ms: Millis

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_margin(self.range_status, self.range_margin)
        if self.num_requests is not None and not self.serve:
            raise ValueError("a limit needs a model that is served")
        if not 0 < self.expires_ms - self.issued_ms <= MAX_LIFETIME_MS:
            raise ValueError("the lifetime is empty or longer than an hour")
        return self

    @property
    def plan_digest(self) -> bytes:
        """SHA-256 of the plan's text; equals ``Plan.digest`` where the text is canonical."""
        return sha256(self.plan.encode())

    @property
    def sharing_digest(self) -> bytes:
        """``sharing_digest`` of the hashes."""
        return sharing_digest(self.share_hashes)

    def check_share(self, party: Party, payload: BytesLike) -> None:
        """Check that a share payload is the one the owner signed for this party.

        Raises:
            WireError: it is another one.
        """
        if sha256(payload).hex() != self.share_hashes[party]:
            raise WireError("the share is not the one that the manifest names; push again")

    def descriptor(self, model: str, input_shape: Shape, output_shape: Shape) -> Descriptor:
        """What both evaluators sign for clients; ``model`` is this document's digest (hex)."""
        return Descriptor(
            deployment=self.deployment,
            name=self.name,
            model=model,
            input_shape=input_shape,
            input_range=self.input_range,
            output_shape=output_shape,
            output=self.output,
            range_status=self.range_status,
            range_margin=self.range_margin,
            final_activation=self.final_activation,
            plan_digest=self.plan_digest.hex(),
        )


def model_digest(document: bytes) -> bytes:
    """A model's digest (32 bytes): SHA-256 over context("model", the manifest's bytes as signed).

    Two pushes of one network differ in it, since their seeds and so their share hashes differ.
    """
    return sha256(context("model", document))


def sharing_digest(share_hashes: Sequence[str]) -> bytes:
    """Names a set of three shares by their SHA-256 (hex), in the parties' order (32 bytes).

    SECURITY: it is made of the shares' hashes, never of the weights: those could be guessed.
    """
    return sha256(context("sharing", *map(bytes.fromhex, share_hashes)))

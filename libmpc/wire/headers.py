"""What travels in the clear beside sealed envelopes, and what both of them are bound to."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from libmpc.wire.context import context
from libmpc.wire.document import Document
from libmpc.wire.fields import MAX_BATCH, MAX_RANK, Dim, Hex8, Hex16, Hex32, Millis, Party

MAX_QUERY_VALUES = 1 << 25


class QueryHeader(Document):
    """Travels with a query's two envelopes; their ``info`` binds every field.

    Attributes:
        number: 128 random bits, new for every sealing.
        shape: of the input, batch first.
        key_ids: of party 0's and party 1's keys that the envelopes are sealed to.
    """

    LABEL: ClassVar[str] = "query header"
    MAX_BYTES: ClassVar[int] = 2048

    model: Hex32
    number: Hex16
    expires_ms: Millis
    shape: Annotated[tuple[Dim, ...], Field(min_length=2, max_length=MAX_RANK + 1)]
    key_ids: tuple[Hex8, Hex8]

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.batch > MAX_BATCH:
            raise ValueError(f"a query has at most {MAX_BATCH} samples")
        if self.values > MAX_QUERY_VALUES:
            raise ValueError(f"a query has at most {MAX_QUERY_VALUES} values; split the batch")
        return self

    @property
    def batch(self) -> int:
        """How many samples the query has."""
        return self.shape[0]

    @property
    def values(self) -> int:
        """How many ring values the input has, all samples together."""
        return math.prod(self.shape)


class PushHeader(Document):
    """Travels with a push's three envelopes; their ``info`` binds every field."""

    LABEL: ClassVar[str] = "push header"
    MAX_BYTES: ClassVar[int] = 2048

    model: Hex32
    number: Hex16
    expires_ms: Millis
    key_ids: tuple[Hex8, Hex8, Hex8]


def query_info(deployment: bytes, header: QueryHeader, party: Party) -> bytes:
    """The HPKE ``info`` of a query's envelope for an evaluator (0 or 1).

    context("query", deployment, model, party u8, number, expires_ms u64, key id,
    rank u8 and dimensions u32)
    """
    shape = bytes([len(header.shape)]) + b"".join(d.to_bytes(4, "big") for d in header.shape)
    return context(
        "query",
        deployment,
        bytes.fromhex(header.model),
        bytes([party]),
        bytes.fromhex(header.number),
        header.expires_ms.to_bytes(8, "big"),
        bytes.fromhex(header.key_ids[party]),
        shape,
    )


def push_info(deployment: bytes, header: PushHeader, party: Party) -> bytes:
    """The HPKE ``info`` of a push's envelope for a party.

    context("push", deployment, model, party u8, number, expires_ms u64, key id)
    """
    return context(
        "push",
        deployment,
        bytes.fromhex(header.model),
        bytes([party]),
        bytes.fromhex(header.number),
        header.expires_ms.to_bytes(8, "big"),
        bytes.fromhex(header.key_ids[party]),
    )


def reply_info(deployment: bytes, model: str, party: Party, number: str) -> bytes:
    """The HPKE ``info`` of an evaluator's reply to the query of that number.

    context("reply", deployment, model, party u8, number)
    """
    fields = (bytes.fromhex(model), bytes([party]), bytes.fromhex(number))
    return context("reply", deployment, *fields)

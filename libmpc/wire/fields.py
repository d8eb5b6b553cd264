"""The types of the fields that occur in wire documents, with their bounds."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from libmpc.errors import InputError
from libmpc.outputs import parse as parse_output
from libmpc.wire.errors import WireError
from libmpc.wire.names import MAX_NAME, check_name

BytesLike = bytes | bytearray | memoryview

MAX_RANK = 8
MAX_DIM = 1 << 28
MAX_BATCH = 16384
MAX_OUTPUT = 64
MAX_MILLIS = 1 << 53
MAX_VALUES = 1 << 16
"""Values in one JSON text. A wrong one costs its reader thousands of times its two bytes: 4 MB of
empty objects once held a party up for two minutes, and took 5 GB."""
MAX_LIFETIME_MS = 3_600_000
"""Signed requests live at most an hour, so that what refuses a second use of them stays small."""


def too_many_values(data: bytes | bytearray, most: int = MAX_VALUES) -> bool:
    """Whether a JSON text has more than ``most`` values, counting commas within its texts, too.

    To be asked before anything is parsed: it takes 0.1 ms per MB and no memory.
    """
    return data.count(b",") >= most


def _base64(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            decoded = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        # One spelling only: the unused bits at the end are zero.
        if value and base64.b64encode(decoded).decode() == value:
            return decoded
    raise ValueError("must be base64")


def _name(value: str) -> str:
    try:
        return check_name(value)
    except WireError as error:
        raise ValueError(str(error)) from None


def _output(value: str) -> str:
    try:
        return str(parse_output(value))
    except InputError as error:
        raise ValueError(str(error)) from None


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ValueError("the lower end must be below the upper end")
    return value


Hex8 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="8 bytes")]
Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="16 bytes")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="32 bytes")]
Base64 = Annotated[
    bytes,
    PlainValidator(_base64),
    PlainSerializer(lambda b: base64.b64encode(b).decode(), return_type=str, when_used="json"),
]
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_name)]
Millis = Annotated[int, Field(ge=0, lt=MAX_MILLIS, description="Unix time in milliseconds")]
Party = Annotated[int, Field(ge=0, le=2)]
Count = Annotated[int, Field(ge=1, lt=MAX_MILLIS)]
Dim = Annotated[int, Field(ge=1, le=MAX_DIM)]
Shape = Annotated[tuple[Dim, ...], Field(min_length=1, max_length=MAX_RANK)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
RangeStatus = Literal["proven", "calibrated"]
FinalActivation = (
    Annotated[
        str,
        Field(
            pattern=r"^(sigmoid|(softmax|log_softmax|argmax)(:-[2-8])?)$",
            description="what the client does with logits; an axis other than the last counts from"
            " the end",
        ),
    ]
    | None
)
# Not Literal[1]: that takes true and 1.0 for 1.
Version = Annotated[int, Field(ge=1, le=1)]
Width = Annotated[int, Field(ge=48, le=48, description="bits of the ring")]
FractionBits = Annotated[int, Field(ge=16, le=16)]
Output = Annotated[
    str,
    Field(max_length=MAX_OUTPUT, description="the most that answers may tell: an output kind"),
    AfterValidator(_output),
]

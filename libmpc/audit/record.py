"""One record of an audit log: a line of canonical JSON that names the line before it.

Canonical: the fields in the order of their names, no spaces, ASCII. ``prev`` is the hash of the
line before, without its end of line: SHA-256 of context("audit record", line). So one hash, the
*head*, stands for a log up to its line.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libmpc.wire.context import context, sha256
from libmpc.wire.document import describe
from libmpc.wire.errors import WireError
from libmpc.wire.fields import Hex16, Hex32, Millis, Party

#: ``prev`` of the very first record
GENESIS = "0" * 64
MAX_LINE_BYTES = 4096

Amount = Annotated[int, Field(ge=0, lt=1 << 63)]
Event = Literal[
    "started",  # the process; ``note`` has its version
    "stopped",
    "query",  # ``count`` of one gateway, model and outcome since ``from_ms``
    "prepare",  # a push: checked and kept
    "commit",  # a push: in force
    "serve",
    "stop",
    "delete",
    "replica",  # this party's own process of another triple has fetched a share; ``note``: which
    "replaced",  # by a push of the same name
    "settings",  # the deployment file or this party's keys were read anew
    "dealer",  # an audit of party 2 has failed; ``note`` says how
    "dropped",  # an old file was deleted, to stay within the bound; ``note`` names it
    "repaired",  # a line that a crash had cut off was removed
]


#: as read: a later minor version may have others
_Word = Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]


class Record(BaseModel):
    """What happened. Fields that do not apply are left out of the line.

    A log outlives the build that wrote it, so events and fields of a later one are read, too; the
    chain covers whatever stands in a line.

    Attributes:
        number: from 1 on, without gaps.
        time_ms: when it was written (Unix milliseconds, this party's clock).
        deployment, party: whose log it is.
        gateway: X25519 key of the gateway that asked (hex).
        peer: index of the party that told of a change, instead of a gateway.
        owner: Ed25519 key of the model's owner (hex), where the party has checked it.
        model, name: the model; its digest (hex).
        count, samples, from_ms: requests of one kind that were added up since then, and the
            samples in them; a record without ``count`` is of a single change.
        outcome: as an HTTP status.
        note: a word more; from this program, never from outside.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, hide_input_in_errors=True)

    number: Amount
    prev: Hex32
    time_ms: Millis
    event: _Word
    deployment: Hex16
    party: Party
    gateway: Hex32 | None = None
    peer: Party | None = None
    owner: Hex32 | None = None
    model: Hex32 | None = None
    name: Annotated[str, Field(max_length=63)] | None = None
    num_requests: Amount | None = None
    count: Amount | None = None
    samples: Amount | None = None
    from_ms: Millis | None = None
    outcome: Annotated[int, Field(ge=100, lt=600)] | None = None
    note: Annotated[str, Field(max_length=200)] | None = None

    def line(self) -> bytes:
        """The record's line, without its end."""
        fields = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line.

        Raises:
            WireError: it is no record, or not in canonical form.
        """
        if len(line) > MAX_LINE_BYTES:
            raise WireError("the line is too long")
        try:
            record = cls.model_validate_json(line)
        except ValidationError as error:
            raise WireError(f"no audit record: {describe(error)}") from None
        # One spelling only: what a reader sees is all that the hash covers.
        if record.line() != line:
            raise WireError("not in canonical form")
        return record

    def to_json(self) -> dict[str, Any]:
        """The fields that it has."""
        fields: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return fields


class NewRecord(Record):
    """One that this build writes.

    SECURITY: closed, so that there is no field into which a payload could get.
    """

    model_config = ConfigDict(extra="forbid")

    event: Event


def head(line: bytes) -> str:
    """The hash (hex) that stands for a log up to and including this line."""
    return sha256(context("audit record", line)).hex()

"""What parties and gateways say to each other over a link, and the bounds on it.

A link message is (kind, bundle, step, payload). Rounds and corrections carry ring values and use
``bundle`` and ``step``; control messages carry one JSON document; between a gateway and a party
``bundle`` is the number of the request that a message belongs to.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from libmpc.tracing import PATTERN
from libmpc.wire.errors import WireError
from libmpc.wire.fields import MAX_VALUES, Hex16, Hex32, too_many_values
from libmpc.wire.headers import QueryHeader
from libmpc.wire.names import MAX_NAME
from libmpc.wire.signed import Signed

MAX_CONTROL_BYTES = 4 << 20
MAX_BATCH_QUERIES = 1024
MAX_FAULTS = 256
MAX_MODELS = 4096
MAX_POOLS = 1024
MAX_GROUP = 64
"""Bundles that are dealt together."""


class Kind(IntEnum):
    """Message kinds. Numbers are wire format: never reuse one."""

    EPOCH = 1  # between parties: EpochReport
    CATALOG = 2  # between parties: CatalogReport
    DEAL = 3  # party 0 → 2: Deal
    DEALT = 4  # party 2 → 0: BundleHeader; the bundles are dealt, or, streamed, one begins
    BUNDLE = 5  # party 2 → 1: BundleHeader and the first piece of the corrections
    CORRECTION = 6  # party 2 → 1: another piece, or, streamed, ring values and bits of one step
    RUN = 7  # party 0 → 1: RunHeader; rides with the first round
    AGREE = 8  # party 1 → 0: RunAgreement; rides with the first round
    ROUND = 9  # between evaluators: one step's masked values
    ABORT = 10  # between evaluators: RunAbort
    DECLINED = 11  # party 1 or 2 → 0: this bundle will not be had
    CREDIT = 12  # party 1 → 2: a step's correction of a streamed bundle has been used
    ENDED = 13  # party 0 or 1 → 2, and back to 1: nothing more of a streamed bundle
    DROPPED = 14  # party 0 → 1: this bundle has left the pool unused

    TOSS = 15  # party 0 → 1: Toss, before the bundles are asked for
    COIN = 16  # party 1 → 0: Coin, once they have come; then party 0 → 1: its own
    MASKS = 17  # party 1 → 0: what it shows of a bundle that is audited
    SHOWN = 18  # party 0 → 1: the same
    VERDICT = 19  # party 1 → 0: 1, or 0 where the dealer's corrections are wrong

    MIRROR = 20  # replica → primary: MirrorRequest; back: MirrorReport
    CHANGED = 21  # primary → replica: ask again
    FETCH = 22  # replica → primary: a model's digest (32 bytes)
    SHARE = 23  # primary → replica: ShareHeader, then the stored share in pieces

    STATUS = 32
    KEYS = 33
    MODELS = 34
    PREPARE = 35  # a sealed push
    COMMIT = 36
    COMMAND = 37
    SYNC = 39  # to a replica: catch up with triple 0 now
    BATCH = 38  # a batch of sealed queries; answered by one RESULT a query
    RESPONSE = 48
    RESULT = 49


Number = Annotated[int, Field(ge=1, le=(1 << 62))]
Count = Annotated[int, Field(ge=1, le=MAX_GROUP)]
Rung = Annotated[int, Field(ge=1, le=1024)]
Rows = Annotated[int, Field(ge=0, le=1 << 20)]
Variant = Annotated[str, Field(pattern=r"^[0-9a-f]{64}(:[a-z0-9:.+-]{1,64})?$")]
"""A model, and what it answers with; see ``variants``."""


class Control(BaseModel):
    """The base of all JSON payloads: strict, closed, bounded.

    SECURITY: lists of documents fail at the first wrong one (``FailFast``). All others would be
    described as well, in thousands of times the bytes that they take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def encode(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def parse(cls, payload: bytes | bytearray | memoryview) -> Self:
        """Parse a peer's document.

        Raises:
            WireError: it is too long or not what it should be; the text names no value in it.
        """
        if len(payload) > MAX_CONTROL_BYTES:
            raise WireError(f"{cls.__name__}: more than {MAX_CONTROL_BYTES} bytes")
        payload = bytes(payload)
        if too_many_values(payload):
            raise WireError(f"{cls.__name__}: more than {MAX_VALUES} values")
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            if error.error_count() > MAX_FAULTS:  # pydantic tells of all of them, or of none
                raise WireError(f"{cls.__name__}: too much of it is wrong") from None
            first: Any = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise WireError(f"{cls.__name__}: {where}: {first['type']}") from None


class Report(Control):
    """What a party says of itself to gateways, and gateways only show or compare.

    Open: a party of a later minor version may say more, and is understood by older gateways.
    """

    model_config = ConfigDict(extra="ignore")


class Deal(Control):
    """Party 0 asks the dealer for bundles. Numbers rise strictly within an epoch.

    ``bundle`` is the first of ``count`` numbers that follow each other. A ``streamed`` bundle is
    for a run that begins now: its corrections go to party 1 step by step, as it uses them.
    """

    bundle: Number
    count: Count
    model: Variant
    rung: Rung
    streamed: bool
    vouch: bool = False  # audited at random: say in ``BundleHeader`` what party 0's masks are

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()


class BundleHeader(Control):
    """What the dealer says bundles are for; their numbers as in ``Deal``.

    ``vouched``: to party 1, a salted hash of party 0's masks for each bundle (``runtime.audit``).
    """

    bundle: Number
    count: Count
    model: Variant
    plan: Hex32
    sharing: Hex32
    rung: Rung
    streamed: bool
    vouched: Annotated[tuple[Hex32, ...], Field(max_length=MAX_GROUP)] = ()

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()


class Toss(Control):
    """Party 0's half of a coin toss about bundles that it asks for, hidden in a commitment.

    Each is audited if the coin falls below ``rate`` of 2^32.
    """

    bundle: Number
    count: Count
    rate: Annotated[int, Field(ge=1, le=1 << 32)]
    commitment: Hex32


class Coin(Control):
    """One evaluator's half of the coin: 32 random bytes."""

    value: Hex32


class Slice(Control):
    """Rows ``start`` to ``stop`` of one query, and a check on the tag in its two envelopes."""

    query: Hex16
    start: Rows
    stop: Rows
    tag_check: Hex32


class RunHeader(Control):
    """What party 0 chose: a bundle, and whose rows it is spent on, in order."""

    bundle: Number
    model: Variant
    rung: Rung
    slices: Annotated[
        tuple[Slice, ...], Field(min_length=1, max_length=MAX_BATCH_QUERIES), FailFast()
    ]
    digest: Hex32


class RunAgreement(Control):
    digest: Hex32


class RunAbort(Control):
    """The end of a run. ``refused`` names queries that party 1 will not compute, nothing else.

    SECURITY: no reason is sent: what a party says of a failed run must not depend on values.
    """

    refused: Annotated[tuple[Hex16, ...], Field(max_length=MAX_BATCH_QUERIES), FailFast()] = ()


class BatchEntry(Control):
    """One sealed query within a batch: its clear header, and the length of its envelope.

    ``trace``: the gateway's span for it, where that is traced (W3C traceparent; minor version 2).
    """

    header: QueryHeader
    size: Annotated[int, Field(ge=0, le=1 << 32)]
    trace: Annotated[str, Field(pattern=PATTERN)] | None = None


class Batch(Control):
    """Queries of one model that a gateway proposes to run together; envelopes follow in order."""

    model: Hex32
    timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)]
    entries: Annotated[
        tuple[BatchEntry, ...], Field(min_length=1, max_length=MAX_BATCH_QUERIES), FailFast()
    ]


class Refusal(Report):
    """Why a party did not do what a gateway asked, as the gateway may repeat it."""

    status: Literal[400, 401, 403, 404, 409, 413, 422, 429, 500, 503]
    error: Annotated[str, Field(max_length=1024)]
    retry_after: Annotated[float, Field(ge=0, le=3600)] | None = None
    code: Literal["not_here"] | None = None  # of parties of triples from 1 on

    def encode(self) -> bytes:
        left_out = {"code"} if self.code is None else None  # gateways of before do not know it
        return self.model_dump_json(exclude=left_out).encode()


class ModelState(Report):
    """One stored model as a party reports it to gateways."""

    name: str
    model: Hex32
    state: Literal["serving", "stopped"]
    num_requests: int | None
    served: int
    plan_digest: Hex32
    descriptor: Signed | None  # parties 0 and 1 only


class ModelList(Report):
    models: Annotated[tuple[ModelState, ...], Field(max_length=MAX_MODELS), FailFast()]


class PartyStatus(Report):
    """What a party says of itself to gateways and on its health port."""

    party: int
    version: str
    ready: bool
    reason: str
    epoch: str | None
    models: int


class PoolLevel(Control):
    """Bundles that are ready: of one stored model, by its name, at one batch size."""

    model_config = ConfigDict(extra="ignore")

    model: Annotated[str, Field(max_length=MAX_NAME)]
    rung: Rung
    ready: Annotated[int, Field(ge=0, le=1 << 32)]


class PartyReport(PartyStatus):
    """What a party says beyond its status, for people to look at; nothing is decided by it.

    Fields that are not known are ignored: a party may be newer than the gateway that asks it.
    """

    model_config = ConfigDict(extra="ignore")

    uptime_seconds: Annotated[float, Field(ge=0)]
    clock_ms: Annotated[int, Field(ge=0, le=1 << 53)]
    pools: Annotated[tuple[PoolLevel, ...], Field(max_length=MAX_POOLS), FailFast()] = ()


class Commit(Control):
    """Step two of a push."""

    model: Hex32
    receipts: Annotated[tuple[Signed, ...], Field(min_length=3, max_length=3), FailFast()]

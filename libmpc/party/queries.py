"""Sealed queries at an evaluator: claimed, opened, and followed until the reply leaves.

A query number is claimed at first acceptance and refused until its expiry has passed. The table
lives in memory: HPKE keys are new at every start, so an envelope from before cannot be opened.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from libmpc.clock import Clock
from libmpc.errors import (
    ConflictError,
    InputError,
    LibmpcError,
    LimitError,
    ModelError,
    UnavailableError,
)
from libmpc.outputs import allows, parse
from libmpc.party.entry import Entry
from libmpc.party.variants import Variants
from libmpc.ring import unpack
from libmpc.sealing.errors import SealError, UnknownKeyError
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.shares import expand_seed
from libmpc.wire.envelope import Kind, QueryPlaintext
from libmpc.wire.errors import WireError
from libmpc.wire.headers import QueryHeader, query_info

#: how far ahead an envelope may expire; bounds the table of claimed numbers
MAX_LIFE_MS = 15 * 60 * 1000
MAX_CLAIMED = 1 << 20


@dataclass(eq=False)
class Query:
    """One opened query at one evaluator."""

    number: str  # hex
    entry: Entry = field(repr=False)
    x: NDArray[np.uint64] = field(repr=False)  # our additive share: (batch, *input shape)
    tag: bytes = field(repr=False)
    reply_key: bytes = field(repr=False)
    done: asyncio.Future[bytes] = field(repr=False)  # the sealed reply, or why there is none
    y: NDArray[np.uint64] = field(init=False, repr=False)  # our share of the logits, row by row
    digests: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False)
    released: bool = False  # its reply is about to leave: nothing may compute it again
    counted: bool = False
    opened: float = field(default_factory=perf_counter, repr=False)

    def __post_init__(self) -> None:
        self.y = np.zeros((len(self.x), *self.entry.plan.output_shape), np.uint64)

    @property
    def rows(self) -> int:
        return len(self.x)

    @property
    def complete(self) -> bool:
        return sum(stop - start for start, stop in self.digests) == self.rows

    def keep(self, start: int, stop: int, y: NDArray[np.uint64], digest: bytes) -> None:
        """Store the result of one run's slice."""
        self.y[start:stop] = y
        self.digests[(start, stop)] = digest

    def reply(self, envelope: bytes) -> None:
        if not self.done.done():
            self.done.set_result(envelope)

    def fail(self, error: LibmpcError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Intake:
    """Claims numbers and opens envelopes.

    Args:
        index: 0 or 1.
        deployment: the deployment's id.
        keys: this party's short-lived HPKE keys.
        clock: tells expiry.
        variants: of the stored models.
    """

    def __init__(
        self, index: int, deployment: bytes, keys: HpkeKeys, clock: Clock, variants: Variants
    ) -> None:
        self.index = index
        self._variants = variants
        self._deployment = deployment
        self._keys = keys
        self._clock = clock
        self._claimed: dict[str, int] = {}  # query number → expiry in ms

    def check(self, entry: Entry, item: QueryHeader) -> None:
        """Refuse what can be refused from the clear part alone.

        Raises:
            InputError: a shape that does not fit the model.
            ConflictError: expired, or sent before.
        """
        if tuple(item.shape[1:]) != entry.plan.input_shape:
            raise InputError("the query's shape does not fit the model")
        now = int(self._clock.now() * 1000)
        if not now < item.expires_ms <= now + MAX_LIFE_MS:
            raise ConflictError("the query has expired; check this machine's clock", status=409)

    def claim(self, item: QueryHeader) -> None:
        """Take a query number for good.

        Raises:
            ConflictError: the number was used before.
            LimitError: too many numbers are remembered at this time.
        """
        now = int(self._clock.now() * 1000)
        if len(self._claimed) >= MAX_CLAIMED:
            self._claimed = {n: e for n, e in self._claimed.items() if e >= now}
            if len(self._claimed) >= MAX_CLAIMED:
                raise LimitError("too many queries; try again later", status=429, retry_after=5)
        # SECURITY: a share that is computed on twice under fresh masks is harmless, but a reply
        # to a replay would count and leave twice; refused before anything else happens.
        if item.number in self._claimed and self._claimed[item.number] >= now:
            raise ConflictError("this query was sent before; seal a new one", status=409)
        self._claimed[item.number] = item.expires_ms

    def open(
        self,
        entry: Entry,
        item: QueryHeader,
        envelope: memoryview,
        reply: asyncio.Future[bytes],
    ) -> Query:
        """Open one envelope; the query's reply will be set on ``reply``.

        Raises:
            UnknownKeyError: sealed to a key that this party no longer has.
            InputError: it cannot be opened, holds something else than was said, or asks for an
                output that the owner or the model does not allow.
        """
        info = query_info(self._deployment, item, self.index)
        try:
            opened = self._keys.open(item.key_ids[self.index], info, envelope)
            plain = QueryPlaintext.parse(opened, item.values)
        except UnknownKeyError:
            raise  # the client fetches the new key and seals again
        except (SealError, WireError):
            raise InputError("the envelope cannot be opened") from None
        return Query(
            number=item.number,
            entry=self._answering(entry, plain.output),
            x=_share(plain, item.shape),
            tag=plain.tag,
            reply_key=plain.reply_key,
            done=reply,
        )

    def _answering(self, entry: Entry, output: str) -> Entry:
        """The model with the output that was asked for.

        Raises:
            InputError: the owner or the model does not allow it.
        """
        policy = entry.manifest.output
        # SECURITY: both evaluators check the owner's signed policy, whoever asks, and derive the
        # plan by themselves; its digest is in the run digest.
        try:
            kind = parse(output)
            if kind.takes_labels or not allows(parse(policy), kind):
                raise InputError(f"the model's owner allows it to answer with {policy} only")
            return self._variants.answering(entry, kind)
        except ModelError as error:
            raise InputError(str(error)) from None


def _share(plain: QueryPlaintext, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    if plain.kind is Kind.SEED:
        return expand_seed(bytes(plain.payload), shape)
    return unpack(plain.payload, math.prod(shape)).reshape(shape)


class Admission:
    """Which queries a model may still take: served ones and those in flight, against its limit."""

    def __init__(self) -> None:
        self._in_flight: dict[str, int] = {}

    def admit(self, entry: Entry) -> None:
        """Reserve one request.

        Raises:
            UnavailableError: the model is stopped.
            LimitError: its requests are used up.
        """
        record = entry.record
        if not record.serving:
            raise UnavailableError(
                f"model {record.name!r} is not ready: it is stopped", status=503, retry_after=5
            )
        taken = record.served + self._in_flight.get(record.model, 0)
        if record.num_requests is not None and taken >= record.num_requests:
            raise LimitError(
                f"model {record.name!r} has used up its {record.num_requests} requests;"
                " its owner can serve it again",
                status=429,
            )
        self._in_flight[record.model] = self._in_flight.get(record.model, 0) + 1

    def leave(self, model: str) -> None:
        """The reservation ends: the request was counted or has failed."""
        left = self._in_flight[model] - 1
        if left:
            self._in_flight[model] = left
        else:
            del self._in_flight[model]

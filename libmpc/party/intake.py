"""Sealed queries at an evaluator: claimed and opened.

A query number is claimed at first acceptance and refused until its expiry has passed. The table
lives in memory: HPKE keys are new at every start, so an envelope from before cannot be opened.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.clock import Clock
from libmpc.errors import ConflictError, InputError, LimitError, ModelError
from libmpc.outputs import allows, label_width, parse
from libmpc.party.entry import Entry
from libmpc.party.queries import Collect, Part, Query
from libmpc.party.variants import Variants
from libmpc.ring import unpack, unpack_bits
from libmpc.sealing.errors import SealError, UnknownKeyError
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.shares import expand_bits, expand_seed
from libmpc.wire.envelope import VALUE_BYTES, Kind, QueryPlaintext
from libmpc.wire.errors import WireError
from libmpc.wire.evaluation import NUMBER_BYTES
from libmpc.wire.headers import QueryHeader, query_info

#: how far ahead an envelope may expire; bounds the table of claimed numbers
MAX_LIFE_MS = 15 * 60 * 1000
MAX_CLAIMED = 1 << 20


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
    ) -> Query | Collect:
        """Open one envelope; its reply will be set on ``reply``.

        Raises:
            UnknownKeyError: sealed to a key that this party no longer has.
            InputError: it cannot be opened, holds something else than was said, or asks for an
                output that the owner or the model does not allow.
        """
        info = query_info(self._deployment, item, self.index)
        width = label_width(entry.plan.output_shape[-1])
        try:
            opened = self._keys.open(item.key_ids[self.index], info, envelope)
            plain = QueryPlaintext.parse(opened, item.values, item.batch * width)
        except UnknownKeyError:
            raise  # the client fetches the new key and seals again
        except (SealError, WireError):
            raise InputError("the envelope cannot be opened") from None
        entry = self._answering(entry, plain)
        common: Any = {"number": item.number, "entry": entry, "reply_key": plain.reply_key}
        if plain.evaluation is None:
            x = _share(plain, item.shape)
            return Query(**common, done=reply, x=x, tag=plain.tag)
        if plain.kind is Kind.COLLECT:
            return Collect(**common, done=reply, evaluation=plain.evaluation, parts=_parts(plain))
        return Part(
            **common,
            done=reply,
            x=_share(plain, item.shape),
            tag=plain.tag,
            labels=_label_share(plain, item.values, (item.batch, width)),
            evaluation=plain.evaluation,
            index=plain.index,
        )

    def _answering(self, entry: Entry, plain: QueryPlaintext) -> Entry:
        """The model with the output that was asked for.

        Raises:
            InputError: the owner or the model does not allow it.
        """
        # SECURITY: both evaluators check the owner's signed policy, whoever asks, and derive the
        # plan by themselves; its digest is in the run digest.
        policy = parse(entry.manifest.output)
        try:
            kind = parse(plain.output)
            if not allows(policy, kind):
                raise InputError(f"the model's owner allows it to answer with {policy} only")
            if plain.evaluation is not None and plain.evaluation.samples < policy.at_least:
                raise InputError(
                    f"the model's owner allows evaluations of {policy.at_least} samples or more"
                )
            return self._variants.answering(entry, kind)
        except ModelError as error:
            raise InputError(str(error)) from None


def _share(plain: QueryPlaintext, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    if plain.kind is Kind.SEED:
        return expand_seed(bytes(plain.payload), shape)
    count = math.prod(shape)
    return unpack(memoryview(plain.payload)[: VALUE_BYTES * count], count).reshape(shape)


def _label_share(plain: QueryPlaintext, values: int, shape: tuple[int, int]) -> NDArray[np.uint64]:
    if plain.kind is Kind.SEED:
        return expand_bits(bytes(plain.payload), shape)
    packed = memoryview(plain.payload)[VALUE_BYTES * values :]
    return unpack_bits(packed, math.prod(shape)).reshape(shape)


def _parts(plain: QueryPlaintext) -> tuple[bytes, ...]:
    view = memoryview(plain.payload)
    starts = range(0, view.nbytes, NUMBER_BYTES)
    return tuple(bytes(view[start : start + NUMBER_BYTES]) for start in starts)

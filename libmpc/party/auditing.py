"""What evaluators do with bundles that are audited: take them out, show, check, and say so.

Which ones is settled in ``audits``; what is shown and checked of one, and why that is safe, in
``runtime.audit``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from libmpc.link import Message
from libmpc.party.audits import WRONG, Corrections, FollowAudits, LeadAudits
from libmpc.party.entry import Entry
from libmpc.party.evaluator import Evaluator
from libmpc.party.keys import CORRELATED
from libmpc.party.messages import BundleHeader, Coin, Kind, Toss
from libmpc.party.pool import PoolKey
from libmpc.protocol import EvaluatorWeights, Payload
from libmpc.runtime.audit import Remembered, check, masks, most_bytes, pack, show, unpack
from libmpc.wire.errors import WireError

T = TypeVar("T")
_UNVOUCHED = "bundle {}: party 2 does not vouch for party 0's masks"


class Auditing(Evaluator):
    """What both have in common."""

    async def _compute_audit(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _verdict(self, key: PoolKey, number: int, wrong: str) -> None:
        """An audit has come to its end; ``wrong`` is empty where the dealer was right."""
        self.meters.of(key).audited += 1
        if wrong:
            self.meters.of(key).audits_failed += 1
            self._alarm(f"bundle {number} of model {key[0][:12]}, batch {key[1]}: {wrong}")

    def _shared(self, header: BundleHeader, number: int) -> Remembered:
        """Our stream of a bundle that has left the pool to be audited."""
        secret = self._secrets.correlated
        return Remembered(self._stream(secret, CORRELATED, header.model, number))


class AuditingLeader(Auditing):
    """Party 0."""

    _audits: LeadAudits

    def _receive_of_audit(self, message: Message) -> None:
        match message.kind:
            case Kind.COIN:
                self._audits.coin(message.bundle, Coin.parse(message.payload))
                self._prepare_others(message.bundle)
            case Kind.MASKS:
                self._show(message.bundle, bytes(message.payload))
            case _:
                key = self._audits.verdict(message.bundle)
                self._verdict(key, message.bundle, "" if message.payload == b"\1" else WRONG)

    def _prepare_others(self, first: int) -> None:
        """Once both the bundles and the coin are there: prepare what is not audited."""
        both = self._audits.ready(first)
        if both is None or self.pool.expected(first) is None:
            return
        header, audited = both
        for number in audited:
            # SECURITY: gone from the pool, for good, before anything of it is shown.
            if self.pool.drop(number) is not None:
                self._audits.begin(number, header)
        self._prepare(header, self._expect(header), [None] * header.count, audited)

    def _show(self, number: int, masks: bytes) -> None:
        """Party 1 has shown its masks of a bundle that is audited: show what we may."""
        header = self._audits.show(number)
        entry = self._expect(header)
        weights = entry.weights
        assert isinstance(weights, EvaluatorWeights)
        if len(masks) > most_bytes(entry.plan, header.rung):
            raise WireError("more masks than the bundle has")
        stream = self._shared(header, number)

        def work() -> bytes:
            return pack(show(entry.plan, weights, header.rung, stream, unpack(masks)))

        async def reply() -> None:
            self._tell(Kind.SHOWN, number, await self._compute_audit(work))

        self.spawn(reply())


class AuditingFollower(Auditing):
    """Party 1."""

    _audits: FollowAudits

    def _receive_of_audit(self, message: Message) -> None:
        match message.kind:
            case Kind.TOSS:
                toss = Toss.parse(message.payload)
                self._audits.toss(toss)
                if toss.bundle <= self._audits.unvouched:
                    self._alarm(_UNVOUCHED.format(toss.bundle))
            case Kind.COIN:
                self._on_coin(message.bundle, Coin.parse(message.payload))
            case _:
                self._audits.shown(message.bundle, bytes(message.payload))

    def _held_for_audit(self, header: BundleHeader, corrections: Corrections) -> bool:
        """Whether a group that has come waits for the coin."""
        if header.vouched:
            self._audits.arrived(header, corrections)
        elif self._audits.tossed(header.bundle):
            self._alarm(_UNVOUCHED.format(header.bundle))
        else:
            self._audits.unvouched = header.bundle
            return False
        return True

    def _on_coin(self, first: int, coin: Coin) -> None:
        """Both halves of the coin are known: audit what it names, prepare the others."""
        header, corrections, audited = self._audits.coin(first, coin)
        if self.pool.expected(first) is None:
            return
        try:
            entry = self._expect(header)
        except WireError:  # deleted meanwhile
            self._decline(range(header.bundle, header.bundle + header.count))
            return
        for number in audited:
            # SECURITY: gone from the pool, for good, before anything of it is shown.
            if self.pool.drop(number) is not None:
                self.spawn(self._audit(number, header, entry, corrections[number - first]))
        self._prepare(header, entry, corrections, audited)

    async def _audit(
        self, number: int, header: BundleHeader, entry: Entry, corrections: Mapping[int, Payload]
    ) -> None:
        weights, plan, rung = entry.weights, entry.plan, header.rung
        assert isinstance(weights, EvaluatorWeights)
        vouched = bytes.fromhex(header.vouched[number - header.bundle])
        stream = self._shared(header, number)
        own = await self._compute_audit(lambda: pack(masks(plan, rung, stream)))
        shown = self._audits.expect(number, most_bytes(plan, rung))
        self._tell(Kind.MASKS, number, own)
        theirs = await shown

        def work() -> str:
            return check(
                plan,
                weights,
                rung,
                stream,
                shown=unpack(theirs),
                vouched=vouched,
                corrections=corrections,
            )

        wrong = await self._compute_audit(work)
        self._tell(Kind.VERDICT, number, b"\0" if wrong else b"\1")
        self._verdict((header.model, rung), number, wrong)

    def _decline(self, numbers: range) -> None:
        """Tell party 0 that these will not be had."""
        raise NotImplementedError

"""Frames of a run that are cut, repeated, renamed or late, at a live triple.

Between parties frames are sealed, so only a party that is broken sends such. Whatever comes, the
query is answered right or refused as unavailable, all that a party says of it is ABORT, which says
no more than which query, nothing is used twice, and the next query is answered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.link import Message
from libmpc.party import keys
from libmpc.party.evaluator import RoleSettings
from libmpc.party.messages import Kind, RunAbort
from libmpc.party.node_settings import NodeSettings
from tests.malicious.stolen import StreamCounter
from tests.party.test_streaming import DEEP, DEEP_WEIGHTS, reference, rows
from tests.party.triple import FAST, Gateway, Refused, Triple, triple

TRIES = 3 * 7
Change = Callable[[random.Random, Message, list[Message]], list[Message]]


def _resized(rng: random.Random, message: Message, _: list[Message]) -> list[Message]:
    payload = bytes(message.payload)
    size = rng.choice([0, 1, len(payload) - 1, len(payload) // 2, len(payload) + 1, 4096])
    return [replace(message, payload=memoryview((payload + bytes(4096))[: max(0, size)]))]


def _restepped(rng: random.Random, message: Message, _: list[Message]) -> list[Message]:
    step = rng.choice([0, message.step + 1, max(0, message.step - 1), 1 << 20, (1 << 32) - 1])
    return [replace(message, step=step)]


def _renumbered(rng: random.Random, message: Message, _: list[Message]) -> list[Message]:
    bundle = rng.choice([0, 1, message.bundle - 1, message.bundle + 1, 1 << 40, (1 << 64) - 1])
    return [replace(message, bundle=max(0, bundle))]


def _doubled(rng: random.Random, message: Message, _: list[Message]) -> list[Message]:
    return [message] * rng.choice([2, 3])


def _dropped(rng: random.Random, message: Message, _: list[Message]) -> list[Message]:
    return []


def _replayed(rng: random.Random, message: Message, old: list[Message]) -> list[Message]:
    """With frames of runs that have ended, before or after it."""
    earlier = [one for one in old if one.bundle != message.bundle] or [message]
    more = rng.sample(earlier, min(3, len(earlier)))
    return [message, *more] if rng.random() < 0.5 else [*more, message]


def _exchanged(rng: random.Random, message: Message, _: list[Message]) -> list[Message]:
    kind = rng.choice([Kind.ROUND, Kind.CORRECTION, Kind.AGREE, Kind.CREDIT, Kind.ENDED])
    return [replace(message, kind=int(kind))]


CHANGES: tuple[Change, ...] = (
    _resized,
    _restepped,
    _renumbered,
    _doubled,
    _dropped,
    _replayed,
    _exchanged,
)


@dataclass
class Tap:
    """Between a party's links and its role: changes one frame of a kind when it is armed."""

    kinds: tuple[Kind, ...]
    rng: random.Random
    armed: Change | None = None
    after: int = 0
    changed: int = 0
    old: list[Message] = field(default_factory=list)
    aborts: set[bytes] = field(default_factory=set)

    def put_on(self, node: Any) -> None:
        receive = node.peers._receive

        def take(peer: int, message: Message) -> None:
            if message.kind == Kind.ABORT:
                self.aborts.add(bytes(message.payload))
            for one in self._change(message):
                receive(peer, one)

        node.peers._receive = take

    def _change(self, message: Message) -> list[Message]:
        if message.kind not in self.kinds:
            return [message]
        message = replace(message, payload=memoryview(bytes(message.payload)))
        self.old = [*self.old[-50:], message]
        if self.armed is None:
            return [message]
        if self.after:
            self.after -= 1
            return [message]
        change, self.armed = self.armed, None
        self.changed += 1
        return change(self.rng, message, self.old)


class Client:
    """Asks, and knows which query numbers there have been."""

    def __init__(self, parties: Triple, gateway: Gateway) -> None:
        self._parties, self._gateway = parties, gateway
        self.numbers: set[str] = set()

    async def ask(self, seed: int) -> bool:
        """Whether a query was answered; it is refused as unavailable otherwise."""
        x = rows(2, seed)
        query = await self._gateway.seal_query(x, "deep")
        self.numbers.add(query.header.number)
        (futures,) = await self._gateway.send([query])
        said = await asyncio.gather(*futures, return_exceptions=True)
        replies = [one for one in said if isinstance(one, bytes)]
        if len(replies) < 2:
            assert all(isinstance(one, bytes | Refused) for one in said), said
            assert all(one.status == 503 for one in said if isinstance(one, Refused)), said
            return False
        assert np.array_equal(query.open(replies, self._parties.deployment), reference(x))
        return True


def _settings(streamed: bool) -> NodeSettings:
    # What a party waits for in vain is over soon.
    role = RoleSettings(
        round_timeout=0.5, take_timeout=2.0, stream_bytes=0 if streamed else 1 << 30
    )
    return NodeSettings(link=FAST, role=role)


@pytest.mark.parametrize("streamed", [False, True], ids=["kept ready", "streamed"])
@pytest.mark.parametrize(
    ("kind", "party"),
    [(Kind.ROUND, 0), (Kind.ROUND, 1), (Kind.CORRECTION, 1), (Kind.BUNDLE, 1)],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_changed_frames_end_a_run_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, party: int, streamed: bool
) -> None:
    if kind == (Kind.BUNDLE if streamed else Kind.CORRECTION):
        return  # there are none
    counter, rng = StreamCounter(), random.Random(1000 * kind + party)
    later = 1 if kind == Kind.BUNDLE else 8  # a query takes one bundle and many rounds
    monkeypatch.setattr(keys, "Stream", counter.make)

    async def main() -> None:
        async with triple(tmp_path, settings=_settings(streamed)) as parties:
            gateway = await parties.gateway()
            await gateway.push(DEEP, DEEP_WEIGHTS, "deep")
            taps = {index: Tap((kind,), rng) for index in (0, 1)}
            for index, tap in taps.items():
                tap.put_on(parties.nodes[index])
            client = Client(parties, gateway)
            while not await client.ask(0):
                await parties.ready()
            refused = 0
            for number in range(TRIES):
                tap = taps[party]
                tap.armed, tap.after = CHANGES[number % len(CHANGES)], rng.randrange(later)
                refused += not await client.ask(number)
                # A frame that no correct party sends may cost the link, and so the epoch.
                await parties.ready()
                while not await client.ask(1000 + number):
                    await parties.ready()
            assert taps[party].changed > TRIES // 2
            assert refused
            for said in taps[0].aborts | taps[1].aborts:
                refusal = RunAbort.parse(said)
                assert refusal.encode() == said
                assert set(refusal.refused) <= client.numbers

    asyncio.run(asyncio.wait_for(main(), 110))
    # Each stream belongs to two parties: a third making of it would be a second use.
    assert max(counter.made.values()) <= 2

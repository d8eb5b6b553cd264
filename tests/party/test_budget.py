"""Long messages of gateways: bounded over all links, and one of them always gets on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from libmpc.identity.keys import GatewayIdentity
from libmpc.link import GATEWAY, Buffer, Link, LinkSettings, LocalIdentity, RemoteIdentity
from libmpc.link import connect as open_link
from libmpc.party.budget import SHORT_BYTES, Account, MessageBudget
from libmpc.party.framing import join
from libmpc.party.messages import Kind
from libmpc.party.node_settings import NodeSettings
from libmpc.wire.headers import PushHeader
from libmpc.wire.signed import Signed
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import Triple, expected, triple, until

MIB = 1 << 20
LONGEST, LIMIT, LONG = 8 * MIB, 12 * MIB, 7 * MIB
LINKS = 6
#: nobody sends a heartbeat into a message that a test has not finished
QUIET = LinkSettings(max_message=LONGEST, heartbeat=60, timeout=180)
SETTINGS = NodeSettings(link=QUIET, gateway_bytes=LIMIT)


class Unfinished:
    """A gateway's link with a message that has begun."""

    def __init__(self, link: Link, size: int = LONG) -> None:
        self.link = link
        self.answers: list[int] = []
        link.start(lambda message: self.answers.append(message.step))
        self._size = size
        self._records: list[Buffer] | None = None

    def send(self, leave: int = 1) -> None:
        """All records of a push that is none, but the last ones."""
        if self._records is None:
            self._records = self.link._out.sealer.seal(Kind.PREPARE, 1, 0, (bytes(self._size),))
        while len(self._records) > leave:
            self.link._stream.write(self._records.pop(0))


@asynccontextmanager
async def deployment(directory: Path) -> AsyncIterator[tuple[Triple, list[Unfinished]]]:
    """Three parties with little room, and links of one gateway to party 0."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.party.triple.FAST", QUIET)
        async with triple(directory, settings=SETTINGS) as parties:
            yield parties, await begun(directory, parties)


async def begun(directory: Path, parties: Triple) -> list[Unfinished]:
    identity = GatewayIdentity.load(directory / "gateway" / "keys")
    local = LocalIdentity(GATEWAY, identity.static, parties.deployment.id)
    remote = RemoteIdentity(0, parties.deployment.parties[0].static_key)
    links = [
        await open_link(parties._connect(GATEWAY, 0), local, remote, settings=QUIET)
        for _ in range(LINKS)
    ]
    await until(lambda: len(parties.nodes[0].door.gateways) == LINKS)
    return [Unfinished(link) for link in links]


async def settled(parties: Triple) -> None:
    """Until party 0 reads nothing more."""
    budget = parties.nodes[0].budget
    seen = -1
    while seen != budget.unfinished:
        seen = budget.unfinished
        for _ in range(100):
            await asyncio.sleep(0)


def test_unfinished_pushes_share_one_bound(tmp_path: Path) -> None:
    async def main() -> None:
        async with deployment(tmp_path) as (parties, senders):
            own = await parties.gateway()
            await own.push(PLAN, WEIGHTS)
            budget = parties.nodes[0].budget
            for sender in senders:
                sender.send()
            await settled(parties)
            # One record more for each link, since what has arrived is not given back.
            assert LONG - MIB <= budget.unfinished <= LIMIT + LINKS * MIB
            assert budget.unfinished < LINKS * (LONG - MIB)
            assert budget.waiting >= LINKS - 2
            # Peers, and gateways' short messages, go on as ever.
            x = inputs(3)
            assert np.array_equal(await own.query(x), expected(PLAN, WEIGHTS, x))
            # Each gets its turn: none of them is a push, and all hear so.
            for sender in senders:
                sender.send(leave=0)
            await until(lambda: all(sender.answers == [400] for sender in senders))
            assert (budget.unfinished, budget.worked_on, budget.waiting) == (0, 0, 0)

    asyncio.run(main())


@pytest.mark.parametrize("politely", [True, False])
def test_a_link_that_ends_gives_its_room_back(tmp_path: Path, politely: bool) -> None:
    async def main() -> None:
        async with deployment(tmp_path) as (parties, senders):
            budget = parties.nodes[0].budget
            for sender in senders:
                sender.send()
            await settled(parties)
            first, *others = senders
            if politely:
                await first.link.close()
            else:
                await first.link._stream.close()
            for sender in others:
                sender.send(leave=0)
            await until(lambda: all(sender.answers == [400] for sender in others))
            assert (budget.unfinished, budget.worked_on) == (0, 0)

    asyncio.run(main())


def test_a_message_counts_until_it_has_been_carried_out(tmp_path: Path) -> None:
    """A gateway that ends its links at once cannot have a party work on more than the bound."""

    async def main() -> None:
        async with deployment(tmp_path) as (parties, senders):
            node, own = parties.nodes[0], await parties.gateway()
            going, prepare = asyncio.Event(), node.answers.prepare
            keys = [await own.key(p) for p in range(3)]
            header, _, _ = own.make_push(PLAN, WEIGHTS, keys)

            async def late(header: PushHeader, envelope: memoryview) -> Signed:
                await going.wait()
                return await prepare(header, envelope)

            node.answers.prepare = late  # type: ignore[method-assign]
            for sender in senders:
                sender.link.post(Kind.PREPARE, 2, 0, *join(header.encode(), bytes(LONG)))
            await settled(parties)
            assert node.budget.worked_on > LONG
            assert node.budget.worked_on + node.budget.unfinished <= LIMIT + LINKS * MIB
            for sender in senders:
                await sender.link.close()
            await settled(parties)
            assert node.budget.worked_on > LONG
            going.set()
            await until(lambda: node.budget.worked_on == node.budget.unfinished == 0)

    asyncio.run(main())


class Wire:
    """A link's valve, and what its peer still has to send."""

    def __init__(self, budget: MessageBudget, messages: list[int]) -> None:
        self.account = Account(budget, self)
        self.messages = messages
        self.paused = False
        self.sent = 0

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


@pytest.mark.parametrize("seed", range(30))
def test_random_schedules_stay_within_the_bound_and_end(seed: int) -> None:
    rng = random.Random(seed)
    budget = MessageBudget(LIMIT, LONGEST)
    wires = [
        Wire(budget, [rng.randint(2 * MIB, LONGEST) for _ in range(rng.randint(1, 6))])
        for _ in range(rng.randint(1, 20))
    ]
    working: list[int] = []
    while working or any(wire.messages for wire in wires):
        ready = [wire for wire in wires if wire.messages and not wire.paused]
        assert ready or working, "all of them wait for each other"
        if working and (not ready or rng.random() < 0.2):
            budget.end(working.pop(rng.randrange(len(working))))
            continue
        wire = rng.choice(ready)
        if rng.random() < 0.02:  # it breaks
            wire.messages.clear()
            wire.account.grown(0)
            continue
        wire.sent += SHORT_BYTES
        if wire.sent >= wire.messages[0]:
            working.append(wire.messages.pop(0))
            budget.begin(working[-1])
            wire.sent = 0
        wire.account.grown(wire.sent)
        assert budget.unfinished + budget.worked_on <= LIMIT + len(wires) * SHORT_BYTES
    assert (budget.unfinished, budget.worked_on, budget.waiting) == (0, 0, 0)

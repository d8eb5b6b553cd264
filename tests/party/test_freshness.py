"""Whatever happens, no key stream is made twice by a party (the rules of docs/protocol.md)."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.party import keys
from libmpc.party.node_settings import NodeSettings
from libmpc.party.settings import RoleSettings
from libmpc.prg import Stream
from tests.party.test_queries import PLAN, WEIGHTS, inputs, statuses
from tests.party.triple import FAST, Refused, expected, triple, until


class Recorder:
    """Counts streams by key, and draws by key, layer and purpose."""

    def __init__(self) -> None:
        self.streams: Counter[bytes] = Counter()
        self.draws: Counter[tuple[bytes, int, int]] = Counter()

    def make(self, key: bytes) -> Stream:
        stream = Stream(key, self.draw)
        self.streams[stream._key_id] += 1
        return stream

    def draw(self, key: bytes, layer: int, purpose: int, first: int, blocks: int) -> None:
        assert first == 0
        self.draws[key, layer, purpose] += 1


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(keys, "Stream", recorder.make)
    return recorder


async def disturb(parties: Any, gateway: Any) -> None:
    """Queries, and whatever may end one early."""
    for batch in (1, 9):
        x = inputs(batch)
        assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))
    bad = await gateway.seal_query(inputs())
    bad.envelopes[1] = bad.envelopes[1][:-1] + bytes([bad.envelopes[1][-1] ^ 1])
    fine = await gateway.seal_query(inputs())
    answers = await gateway.send([bad, fine])
    assert 200 not in await statuses(answers[0])
    assert await statuses(answers[1]) == [200, 200]
    # The link between the evaluators breaks in the middle of runs.
    queries = [await gateway.seal_query(inputs(40)) for _ in range(3)]
    waiting = [asyncio.ensure_future(statuses(a)) for a in await gateway.send(queries)]
    await asyncio.sleep(0)
    parties.streams[0, 1].cut()
    for pair in await asyncio.gather(*waiting):
        assert set(pair) <= {200, 503}


@pytest.mark.parametrize("role", [RoleSettings(), RoleSettings(stream_bytes=0, stream_window=1)])
def test_streams_are_made_once_by_each_of_the_two_that_share_them(
    tmp_path: Path, recorder: Recorder, role: RoleSettings
) -> None:
    async def main() -> None:
        async with triple(tmp_path, settings=NodeSettings(link=FAST, role=role)) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            backup = tmp_path / "backup"
            shutil.copytree(tmp_path / "party1" / "data", backup)
            for _ in range(3):
                await disturb(parties, gateway)
                await parties.ready()
            seen = set(recorder.streams)
            # A party that is restored from its backup, and one that is killed and restarted.
            await parties.stop(1)
            shutil.rmtree(tmp_path / "party1" / "data")
            shutil.copytree(backup, tmp_path / "party1" / "data")
            parties.start(1)
            await parties.ready()
            again = await parties.gateway()
            await disturb(parties, again)
            await parties.ready()
            await parties.stop(2)
            parties.start(2)
            await parties.ready()
            assert np.array_equal(
                await (await parties.gateway()).query(inputs()),
                expected(PLAN, WEIGHTS, inputs()),
            )
            assert set(recorder.streams) - seen

    asyncio.run(main())
    # Each key belongs to two parties; a third stream of it would be a second use by one of them.
    assert max(recorder.streams.values()) == 2
    # The same draw twice within a stream raises; across streams it is made by two parties at most.
    assert max(recorder.draws.values()) == 2


def test_a_bundle_that_party_1_refuses_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            await gateway.query(inputs())
            roles: Any = [parties.nodes[p].role.now for p in (0, 1)]
            pools = roles[0].pool, roles[1].pool

            def full() -> bool:
                return not any(p._pending for p in pools) and set(pools[0]._ready) == set(
                    pools[1]._ready
                )

            await until(full)
            ready = set(pools[1]._ready)
            bad = await gateway.seal_query(inputs())
            bad.envelopes[1] = bad.envelopes[1][:-1] + bytes([bad.envelopes[1][-1] ^ 1])
            (answer,) = await gateway.send([bad])
            assert 200 not in await statuses(answer)
            gone = ready - set(pools[1]._ready)
            assert gone == ready - set(pools[0]._ready)
            assert len(gone) == 1

    asyncio.run(main())


def test_queries_wait_for_nothing_when_the_parties_are_not_ready(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            query = await gateway.seal_query(inputs())
            await parties.stop(2)
            await until(lambda: not any(n.peers.epoch for n in parties.nodes.values()), 5)
            (answer,) = await gateway.send([query])
            assert await statuses(answer) == [503, 503]
            assert "party 2" in (await gateway.status(0)).reason
            with pytest.raises(Refused, match="no link to party 2"):
                await gateway.query(inputs())

    asyncio.run(main())


def test_messages_of_an_older_epoch_do_not_count_in_the_next(tmp_path: Path) -> None:
    """Bundle numbers begin anew in each epoch, and a link outlives an epoch."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            await gateway.query(inputs())
            peers = {p: node.peers for p, node in parties.nodes.items()}
            first = peers[0].epoch
            # Party 2 does not hear that party 1 has joined the second epoch; party 0 does, and
            # asks for bundles that party 2 must keep for later.
            parties.streams[1, 2].held = True
            parties.streams[0, 2].cut()
            await until(lambda: peers[0].epoch not in (None, first))
            await until(lambda: peers[2]._early)
            assert peers[2].epoch is None
            second, link = peers[0].epoch, peers[2].links[0]
            parties.streams[0, 1].cut()
            await until(lambda: peers[2]._tracker._heard[0].epoch is None)
            parties.streams[1, 2].release()
            await parties.ready()
            assert peers[0].epoch not in (first, second)
            assert await gateway.query(inputs()) is not None
            assert peers[2].links[0] is link
            assert link.alive

    asyncio.run(main())

"""A second triple: it holds what the first one holds, answers the same, and changes with it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from libmpc.deployment_keys import add_keys, drop_keys, new_keys, use_keys
from libmpc.party.messages import Commit, Kind
from tests.party.test_renewal import renew
from tests.party.triple import (
    Gateway,
    Refused,
    Triple,
    expected,
    perceptron,
    replicas,
    triple,
    until,
)

PLAN, WEIGHTS = perceptron()
X = np.random.default_rng(5).normal(size=(2, 12))


def run(
    directory: Path, work: Callable[[Triple, Gateway, Triple, Gateway], Awaitable[None]]
) -> None:
    """Two triples with nothing stored, and a gateway's links to both."""

    async def main() -> None:
        async with asyncio.timeout(100), triple(directory) as first, replicas(first) as second:
            await work(first, await first.gateway(), second, await second.gateway())

    asyncio.run(main())


async def right(gateway: Gateway, name: str = "mnist") -> None:
    answer = await gateway.query(X, name)
    assert np.array_equal(answer, expected(PLAN, WEIGHTS, X))


def names(parties: Triple) -> list[list[str]]:
    """What each party can compute with."""
    return [
        sorted(e.record.name for e in node.catalog.entries.values())
        for _, node in sorted(parties.nodes.items())
    ]


def test_a_new_triple_catches_up_and_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(100), triple(tmp_path) as first:
            gateway = await first.gateway()
            await gateway.push(PLAN, WEIGHTS, "one")
            await gateway.push(PLAN, WEIGHTS, "two", serve=False)
            async with replicas(first) as second:
                assert names(second) == [["one", "two"]] * 3
                other = await second.gateway()
                await right(other, "one")
                await right(other, "one")
                await right(gateway, "one")
                with pytest.raises(Refused, match="503.*stopped"):
                    await other.query(X, "two")
                epochs = {n.peers.epoch for p in (first, second) for n in p.nodes.values()}
                assert len(epochs) == 2

    asyncio.run(main())


def test_changes_are_followed(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        await right(other)
        await gateway.command(model, "stop")
        await other.sync()
        with pytest.raises(Refused, match="503.*stopped"):
            await other.query(X)
        await gateway.command(model, "serve")
        await other.sync()
        await right(other)
        replacing = await gateway.push(PLAN, WEIGHTS, replace=model)
        await other.sync()
        await right(other)
        for index, node in second.nodes.items():
            assert list(node.catalog.entries) == [replacing]
            assert node.catalog.tombstones == {model: b""}
            held = {r.model for r in second._stores[index].records()}
            assert held == {replacing}
        await gateway.command(replacing, "delete")
        await other.sync()
        assert names(second) == [[], [], []]
        for index in range(3):
            shares = tmp_path / f"party{index}" / "data1" / "shares"
            assert list(shares.iterdir()) == []

    run(tmp_path, work)


def test_changes_come_without_being_asked_for(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await until(lambda: names(second) == [["mnist"]] * 3)
        await gateway.command(model, "delete")
        await until(lambda: names(second) == [[], [], []])

    run(tmp_path, work)


def test_a_replica_is_changed_by_its_primary_only(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        keys = [await other.key(p) for p in range(3)]
        header, envelopes, _ = other.make_push(PLAN, WEIGHTS, keys, "another")
        receipts = Commit.parse(first.nodes[0].catalog.entries[model].record.certificate or b"")
        for party in range(3):
            with pytest.raises(Refused, match="409: models are pushed"):
                await other.prepare(party, header, envelopes[party])
            with pytest.raises(Refused, match="409: models are pushed"):
                await other.commit(party, model, receipts.receipts)
            with pytest.raises(Refused, match="409: models are pushed"):
                await other.ask(party, Kind.COMMAND, other.make_command(model, "delete").encode())
        assert names(second) == [["mnist"]] * 3
        await right(other)

    run(tmp_path, work)


def test_at_triple_0_there_is_nothing_to_catch_up_with(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), triple(tmp_path) as first:
            await (await first.gateway()).sync()

    asyncio.run(main())


def test_it_goes_on_without_its_primary_and_follows_again(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        await first.stop(0)
        replica = second.nodes[0].siblings.replica
        assert replica is not None
        await until(lambda: not replica.linked)
        assert replica.behind > 0
        await right(other)
        with pytest.raises(Refused, match="503: party 0 of triple 1 does not follow triple 0"):
            await other.ask(0, Kind.SYNC)
        for party in (1, 2):
            await other.ask(party, Kind.SYNC)
        first.start(0)
        await first.ready()
        gateway = await first.gateway()
        await gateway.command(model, "stop")
        await until(lambda: replica.linked)
        await other.sync()
        assert replica.behind == 0
        with pytest.raises(Refused, match="503.*stopped"):
            await other.query(X)

    run(tmp_path, work)


def test_after_a_start_nothing_is_answered_before_it_has_caught_up(tmp_path: Path) -> None:
    """A model may have been deleted while a replica was down."""

    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        query = await other.seal_query(X)
        assert len(await asyncio.gather(*(await other.send([query]))[0])) == 2
        await second.stop()
        await gateway.command(model, "delete")
        await first.stop(0)
        second.start()
        assert names(second) == [["mnist"]] * 3
        await second.ready()
        other = await second.gateway()
        reason = "party 0 of triple 1 has yet to fetch what is in force at triple 0"
        assert second.nodes[0].condition.reason.startswith(reason)
        status = await other.status(0)
        assert not status.ready
        assert status.reason.startswith(reason)
        await until(lambda: not second.nodes[1].condition.reason)
        (futures,) = await other.send([query])
        replies = await asyncio.gather(*futures, return_exceptions=True)
        # Party 0 does not know yet, and says so; party 1 knows.
        assert [r.status for r in replies if isinstance(r, Refused)] == [503, 409]
        first.start(0)
        await until(lambda: not second.nodes[0].condition.reason)
        assert names(second) == [[], [], []]

    run(tmp_path, work)


def test_a_replica_with_nothing_left_on_its_disk_catches_up_again(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        await second.stop(1)
        shutil.rmtree(tmp_path / "party1" / second.data)
        second.start(1)
        await second.ready()
        await until(lambda: not second.nodes[1].condition.reason)
        await right(await second.gateway())

    run(tmp_path, work)


def test_a_damaged_share_is_fetched_again(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        await second.stop(0)
        file = tmp_path / "party0" / second.data / "shares" / f"{model}.sealed"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        second.start(0)
        assert list(second.nodes[0].catalog.damaged) == [model]
        await second.ready()
        await until(lambda: not second.nodes[0].condition.reason)
        assert not second.nodes[0].catalog.damaged
        await right(await second.gateway())

    run(tmp_path, work)


def test_models_of_before_a_party_replaced_its_keys_are_handed_over(tmp_path: Path) -> None:
    """Their receipts are signed with keys that nobody knows any more."""

    async def main() -> None:
        async with asyncio.timeout(100), triple(tmp_path) as first:
            await (await first.gateway()).push(PLAN, WEIGHTS)
            add_keys(tmp_path / "deployment.yaml", new_keys(tmp_path / "party1"))
            await renew(first)
            use_keys(tmp_path / "party1")
            epoch = first.nodes[0].peers.epoch
            await renew(first, 1)
            await until(lambda: first.nodes[0].peers.epoch not in (None, epoch))
            drop_keys(tmp_path / "deployment.yaml", 1)
            await renew(first)
            await first.ready()
            async with replicas(first) as second:
                await right(await second.gateway())

    asyncio.run(main())


async def renewed(parties: Triple) -> None:
    """Party 0 goes on with other keys: its links are made anew."""
    epoch = parties.nodes[0].peers.epoch
    await renew(parties, 0)
    await until(lambda: parties.nodes[0].peers.epoch not in (None, epoch))


@pytest.mark.parametrize("new_first", [0, 1])
def test_keys_are_replaced_one_process_after_the_other(tmp_path: Path, new_first: int) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        add_keys(tmp_path / "deployment.yaml", new_keys(tmp_path / "party0"))
        await renew(first)
        await renew(second)
        use_keys(tmp_path / "party0")
        both = (first, second)
        await renewed(both[new_first])
        replica = second.nodes[0].siblings.replica
        assert replica is not None
        await first.ready()
        model = await (await first.gateway()).push(PLAN, WEIGHTS)
        await until(lambda: model in second.nodes[0].catalog.entries)
        await renewed(both[1 - new_first])
        drop_keys(tmp_path / "deployment.yaml", 0)
        await renew(first)
        await renew(second)
        await until(lambda: replica.linked)
        await first.ready()
        await second.ready()
        await (await second.gateway()).sync()
        await right(await second.gateway())

    run(tmp_path, work)

"""A second triple: it holds what the first one holds, answers the same, and changes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from libmpc.party.messages import Commit, Kind
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

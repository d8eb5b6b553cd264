"""Pushes that take another model's place while parties and the gateway miss each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from libmpc.identity.signing import SigningKey
from libmpc.wire.signed import Signed
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import Gateway, Refused, Triple, expected, perceptron, triple, until

SECOND, THIRD = perceptron(seed=7), perceptron(seed=8)
Network = tuple[object, object]
Prepared = tuple[str, list[Signed]]


async def prepared(gateway: Gateway, network: Network, **fields: object) -> Prepared:
    """A push that every party has checked and kept, and nobody has committed."""
    keys = [await gateway.key(p) for p in range(3)]
    header, envelopes, model = gateway.make_push(*network, keys, **fields)  # type: ignore[arg-type]
    return model, [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]


async def alone(parties: Triple, *indices: int) -> Gateway:
    """Only these run, and a gateway reaches them."""
    for index in range(3):
        if index in parties.nodes and index not in indices:
            await parties.stop(index)
        if index not in parties.nodes and index in indices:
            parties.start(index)
    return await parties.gateway()


async def together(parties: Triple) -> Gateway:
    """All three run and have met."""
    await alone(parties, 0, 1, 2)
    await parties.ready()
    return await parties.gateway()


async def agree(parties: Triple, *models: str) -> None:
    """All three come to hold these models, and answer with the last."""
    await until(
        lambda: all(set(node.catalog.entries) == set(models) for node in parties.nodes.values())
    )


def run(directory: Path, work: Callable[[Triple, Gateway], Awaitable[None]]) -> None:
    async def main() -> None:
        async with triple(directory) as parties:
            await work(parties, await parties.gateway())

    asyncio.run(main())


@pytest.mark.parametrize("heard", [(1, 2), (1,), (2,), (0, 1, 2)])
def test_the_model_that_is_replaced_is_deleted_where_that_is_not_known(
    tmp_path: Path, heard: tuple[int, ...]
) -> None:
    """The commit has reached party 0 only when the owner deletes the first model."""

    async def work(parties: Triple, gateway: Gateway) -> None:
        first = await gateway.push(PLAN, WEIGHTS)
        second, receipts = await prepared(gateway, SECOND, replace=first)
        gateway = await alone(parties, 0)
        await gateway.commit(0, second, receipts)
        gateway = await alone(parties, *heard)
        await gateway.command(first, "delete")
        gateway = await together(parties)
        await agree(parties, second)
        x = inputs(2)
        assert np.array_equal(await gateway.query(x), expected(*SECOND, x))

    run(tmp_path, work)


def test_a_commit_that_is_late_finds_the_first_model_deleted(tmp_path: Path) -> None:
    async def work(parties: Triple, gateway: Gateway) -> None:
        first = await gateway.push(PLAN, WEIGHTS)
        second, receipts = await prepared(gateway, SECOND, replace=first)
        await gateway.command(first, "delete")
        for party in range(3):
            await gateway.commit(party, second, receipts)
        await agree(parties, second)

    run(tmp_path, work)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_two_pushes_for_one_place_each_reach_one_party(
    tmp_path: Path, order: tuple[int, int], fresh: bool
) -> None:
    """Which was signed later is in force in the end, whoever has it."""

    async def work(parties: Triple, gateway: Gateway) -> None:
        first = None if fresh else await gateway.push(PLAN, WEIGHTS)
        second, receipts = await prepared(gateway, SECOND, replace=first)
        now = int(parties.clock.now() * 1000)
        third, later = await prepared(gateway, THIRD, replace=first, issued_ms=now + 1)
        for party, model, proof in ((order[0], second, receipts), (order[1], third, later)):
            gateway = await alone(parties, party)
            await gateway.commit(party, model, proof)
        gateway = await together(parties)
        await agree(parties, third)
        x = inputs(2)
        assert np.array_equal(await gateway.query(x), expected(*THIRD, x))
        # The other one is gone for good, also for a gateway that has kept everything.
        for party in range(3):
            with pytest.raises(Refused, match="40[49]"):
                await gateway.commit(party, second, receipts)
        await agree(parties, third)

    run(tmp_path, work)


def test_a_gateway_cannot_exchange_one_push_for_another(tmp_path: Path) -> None:
    """It has both proofs: the one that is in force stays, though the other was signed later."""

    async def work(parties: Triple, gateway: Gateway) -> None:
        second, receipts = await prepared(gateway, SECOND)
        now = int(parties.clock.now() * 1000)
        third, later = await prepared(gateway, THIRD, issued_ms=now + 1)
        for party in range(3):
            await gateway.commit(party, second, receipts)
            with pytest.raises(Refused, match="409"):
                await gateway.commit(party, third, later)
        await agree(parties, second)

    run(tmp_path, work)


def test_another_owners_push_takes_no_name(tmp_path: Path) -> None:
    """It was prepared first and is shown by a peer; the name is the first owner's all the same."""

    async def work(parties: Triple, gateway: Gateway) -> None:
        # A deployment that takes any owner's pushes.
        parties.deployment = parties.deployment.model_copy(update={"owners": ()})
        await alone(parties)
        gateway = await together(parties)
        second, receipts = await prepared(gateway, SECOND)
        mine, parties.owner = parties.owner, SigningKey.generate()
        now = int(parties.clock.now() * 1000)
        third, later = await prepared(gateway, THIRD, issued_ms=now + 1)
        parties.owner = mine
        gateway = await alone(parties, 2)
        await gateway.commit(2, third, later)
        gateway = await alone(parties, 0, 1)
        for party in (0, 1):
            await gateway.commit(party, second, receipts)
        await together(parties)
        for party in (0, 1):
            assert set(parties.nodes[party].catalog.entries) == {second}
        assert set(parties.nodes[2].catalog.entries) == {third}

    run(tmp_path, work)

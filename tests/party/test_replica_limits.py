"""A limit of requests is one number at triple 0: nobody gets its answers once more elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.party.evaluating import PLAN as EVALUATED
from tests.party.evaluating import WEIGHTS as EVALUATED_WEIGHTS
from tests.party.evaluating import correct, samples
from tests.party.holder import Holder
from tests.party.test_replicas import PLAN, WEIGHTS, X, right, run
from tests.party.triple import Gateway, Refused, Triple


async def not_here(gateway: Gateway) -> None:
    with pytest.raises(Refused, match="limit of requests, which triple 0 counts") as caught:
        await gateway.query(X)
    assert (caught.value.status, caught.value.code) == (503, "not_here")


def kept_for(parties: Triple) -> list[str]:
    """The models that party 0 has bundles dealt for."""
    leader = parties.nodes[0].role.now
    assert leader is not None
    return leader.served  # type: ignore[attr-defined, no-any-return]


def test_a_model_with_a_limit_answers_in_triple_0_only(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS, num_requests=2)
        await other.sync()
        for _ in range(3):
            await not_here(other)
        await right(gateway)
        assert second.nodes[0].catalog.entries[model].record.served == 0
        assert (kept_for(first), kept_for(second)) == ([model], [])

    run(tmp_path, work)


def test_a_limit_that_comes_later_is_followed_and_so_is_its_end(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(PLAN, WEIGHTS)
        await other.sync()
        await right(other)
        await gateway.command(model, "serve", 5)
        await other.sync()
        await not_here(other)
        assert kept_for(second) == []
        await gateway.command(model, "stop")
        await gateway.command(model, "serve")
        await other.sync()
        await right(other)
        assert kept_for(second) == [model]

    run(tmp_path, work)


async def parts_not_here(gateway: Gateway, holder: Holder) -> None:
    # One that nothing has been answered to makes up what it wants added.
    numbers = None if holder.answered else [bytes(16)] * holder.evaluation.parts
    for query in (await holder.seal(0), await holder.seal_collect(numbers=numbers)):
        (futures,) = await gateway.send([query])
        for reply in await asyncio.gather(*futures, return_exceptions=True):
            assert isinstance(reply, Refused)
            assert (reply.status, reply.code) == (503, "not_here")


def test_evaluations_count_in_triple_0_only_too(tmp_path: Path) -> None:
    async def work(first: Triple, gateway: Gateway, second: Triple, other: Gateway) -> None:
        model = await gateway.push(EVALUATED, EVALUATED_WEIGHTS)
        await other.sync()
        x, labels = samples(6)
        holder = Holder(other, x, labels, rows=3)
        await holder.parts()
        assert (await holder.collect()).tolist() == [correct(x, labels)]
        late = Holder(other, x, labels, rows=3)
        await late.parts()
        await gateway.command(model, "serve", 1)
        await other.sync()
        await parts_not_here(other, late)  # what was computed before is of no use any more
        await parts_not_here(other, Holder(other, x, labels, rows=3))

    run(tmp_path, work)

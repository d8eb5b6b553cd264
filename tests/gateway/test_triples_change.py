"""Models that change at triple 0 and follow at the others; triples that come and go."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from libmpc.party.messages import Kind, Refusal
from tests.gateway.rig import Rig, rig, run, until
from tests.gateway.test_management import command
from tests.gateway.test_triples import HINT, asked, ready, sealed_for
from tests.manual_clock import settle


async def stop(r: Rig) -> httpx.Response:
    return await r.client.post("/v2/models/digits/stop", content=command())


def test_a_change_is_made_at_triple_0_and_followed_by_the_others() -> None:
    async def work() -> None:
        async with rig(triples=3) as r:
            await ready(r)
            assert (await stop(r)).status_code == 200
            for number, triple in enumerate(r.triples):
                for party in triple:
                    assert len(party.payloads(Kind.COMMAND)) == (number == 0)
                    assert len(party.payloads(Kind.SYNC)) == (number > 0)

    run(work())


def test_a_change_while_a_triple_is_lost_names_it() -> None:
    async def work() -> None:
        async with rig(triples=3) as r:
            await ready(r)
            await r.lose(2, triple=1)
            response = await stop(r)
            assert response.status_code == 503
            assert response.json()["code"] == "follows"
            error = response.json()["error"]
            assert "triple 1 (party 2 is not reachable)" in error
            assert "triple 2" not in error
            assert "made at triple 0" in error
            assert "asking again is safe" in error
            assert all(len(party.payloads(Kind.COMMAND)) == 1 for party in r.parties)
            assert all(len(party.payloads(Kind.SYNC)) == 1 for party in r.triples[2])
            r.triples[1][2].down = False
            await ready(r)
            assert (await stop(r)).status_code == 200

    run(work())


def test_a_replica_that_is_lost_meanwhile_is_waited_for() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            party = r.triples[1][1]
            party.frozen = True
            task = asyncio.ensure_future(stop(r))
            await party.wait_for(Kind.SYNC)
            party.frozen = False
            await party.lose()
            while not task.done():
                await r.clock.advance(1.0)
            assert (await task).status_code == 200
            assert len(party.payloads(Kind.SYNC)) == 2

    run(work())


def test_a_refusal_of_triple_0_is_the_answer_and_nobody_is_told() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            for party in r.parties:
                party.refusals[Kind.COMMAND] = Refusal(status=403, error="no owner")
            response = await stop(r)
            assert (response.status_code, response.json()["error"]) == (403, "no owner")
            assert not any(party.payloads(Kind.SYNC) for party in r.triples[1])

    run(work())


# ---- more and fewer triples


@pytest.mark.parametrize("count", [2, 3])
def test_triples_are_added_while_it_runs(count: int) -> None:
    async def work() -> None:
        async with rig(triples=1, spare=2) as r:
            held = [r.infer_soon() for _ in range(3)]
            r.gateway.renew(lambda party, key: True, count)
            await ready(r)
            assert {(await task).status_code for task in held} == {200}
            assert (await r.infer(query=sealed_for(count - 1))).status_code == 200
            assert asked(r, count - 1) == 1

    run(work())


def test_a_triple_that_is_removed_answers_what_is_under_way() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            for party in r.triples[1]:
                party.holding = True
            task = r.infer_soon(query=sealed_for(1))
            await r.triples[1][0].wait_for(Kind.BATCH)
            await r.triples[1][1].wait_for(Kind.BATCH)
            r.gateway.renew(lambda party, key: True, 1)
            await settle()
            # With one triple it is not asked whose keys they are: its parties see it.
            assert all(party.links for party in r.triples[1])
            for party in r.triples[1]:
                party.release()
            response = await task
            assert response.status_code == 200
            assert HINT not in response.headers
            await until(lambda: not any(party.links for party in r.triples[1]))
            body = (await r.client.get("/v2/keys")).json()
            assert (body["triple"], body["more"]) == (0, [])
            value = r.gateway.metrics.registry.get_sample_value
            assert value("libmpc_gateway_triple_ready", {"triple": "1"}) is None

    run(work())


def test_of_three_the_last_is_removed_and_its_keys_are_nobodys() -> None:
    async def work() -> None:
        async with rig(triples=3) as r:
            await ready(r)
            r.gateway.renew(lambda party, key: True, 2)
            response = await r.infer(query=sealed_for(2))
            assert response.status_code == 409
            assert asked(r, 2) == 0
            assert (await r.infer(query=sealed_for(1))).status_code == 200

    run(work())


def test_a_triple_that_comes_back_while_it_leaves() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            for party in r.triples[1]:
                party.holding = True
            task = r.infer_soon(query=sealed_for(1))
            await r.triples[1][1].wait_for(Kind.BATCH)
            await r.triples[1][0].wait_for(Kind.BATCH)
            old = r.gateway.router.triples[1]
            r.gateway.renew(lambda party, key: True, 1)
            r.gateway.renew(lambda party, key: True, 2)
            await ready(r)
            for party in r.triples[1]:
                party.holding = False
                party.release()
            assert (await task).status_code == 200
            await until(lambda: not any(link.up for link in old.links))
            assert (await r.infer(query=sealed_for(1))).status_code == 200
            value = r.gateway.metrics.registry.get_sample_value
            assert value("libmpc_gateway_triple_queries_total", {"triple": "1"}) == 1
            assert value("libmpc_gateway_triple_ready", {"triple": "1"}) == 1

    run(work())


def test_keys_that_count_no_more_end_the_links_of_a_triple_that_leaves() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            for party in r.triples[1]:
                party.holding = True
            task = r.infer_soon(query=sealed_for(1))
            await r.triples[1][1].wait_for(Kind.BATCH)
            r.gateway.renew(lambda party, key: True, 1)
            r.gateway.renew(lambda party, key: party != 0, 1)
            assert (await task).status_code == 503

    run(work())

"""A gateway before several triples: who gets a query, and what is said of the next one."""

from __future__ import annotations

import asyncio

from libmpc.party.messages import Kind, Refusal
from libmpc.wire.headers import QueryHeader
from services.gateway.router import ASK_SECONDS
from services.gateway.triple import READY_SECONDS
from tests.gateway.fakes import key_id, state
from tests.gateway.rig import Rig, header, rig, run, until
from tests.manual_clock import settle

HINT = "Libmpc-Triple"


def sealed_for(triple: int, **changes: object) -> QueryHeader:
    """The header of a query for one triple."""
    return header(key_ids=(key_id(0, triple), key_id(1, triple)), **changes)


async def ready(r: Rig) -> None:
    """All triples are known to be ready, and their keys are known."""
    router = r.gateway.router
    while not all(triple.ready for triple in router.triples):
        await r.clock.advance(READY_SECONDS)
        r.timers.advance(READY_SECONDS)
    assert (await r.client.get("/v2/keys")).status_code == 200


def asked(r: Rig, triple: int) -> int:
    """How many queries have come to a triple; both evaluators have the same."""
    first, second = (sum(map(len, r.triples[triple][party].batches)) for party in (0, 1))
    assert first == second
    return first


def test_a_query_goes_to_the_triple_that_it_was_sealed_for() -> None:
    async def work() -> None:
        async with rig(triples=3) as r:
            await ready(r)
            for triple, count in ((0, 3), (1, 1), (2, 2)):
                for _ in range(count):
                    response = await r.infer(query=sealed_for(triple))
                    assert response.status_code == 200, response.text
            assert [asked(r, triple) for triple in range(3)] == [3, 1, 2]

    run(work())


def test_one_triple_gets_everything_and_no_hint() -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.infer(query=header(key_ids=("ab" * 8, "cd" * 8)))
            assert response.status_code == 200
            assert HINT not in response.headers
            assert (await r.client.get("/v2/keys")).json()["more"] == []
            # Nobody has asked whether it is ready.
            value = r.gateway.metrics.registry.get_sample_value
            assert value("libmpc_gateway_triple_ready", {"triple": "0"}) == 1
            r.parties[2].ready = False
            assert (await r.client.get("/v2/health/ready")).status_code == 503
            assert value("libmpc_gateway_triple_ready", {"triple": "0"}) == 0
            await r.lose(1)
            assert value("libmpc_gateway_triple_ready", {"triple": "0"}) == 0

    run(work())


def test_keys_are_of_the_least_loaded_triple_first() -> None:
    async def work() -> None:
        async with rig(triples=3) as r:
            await ready(r)
            for party in (*r.triples[0], *r.triples[1]):
                party.holding = True
            tasks = [r.infer_soon(query=sealed_for(0, shape=(5, 4)))]
            tasks.append(r.infer_soon(query=sealed_for(1, shape=(2, 4))))
            for triple in (0, 1):
                await r.triples[triple][1].wait_for(Kind.BATCH)
            body = (await r.client.get("/v2/keys")).json()
            assert [body["triple"], *(one["triple"] for one in body["more"])] == [2, 1, 0]
            assert all(len(one["keys"]) == 3 for one in (body, *body["more"]))
            for party in (*r.triples[0], *r.triples[1]):
                party.release()
            assert {response.status_code for response in await asyncio.gather(*tasks)} == {200}

    run(work())


def test_hints_spread_clients_over_triples() -> None:
    async def work() -> None:
        async with rig(triples=3) as r:
            await ready(r)
            for party in r.parties:
                party.holding = True
            tasks = [r.infer_soon(query=sealed_for(0)) for _ in range(9)]
            hints: list[str] = []
            while len(hints) < 9:
                await settle()
                for party in r.parties:
                    party.release()
                await settle()
                done = [task for task in tasks if task.done()]
                hints += [task.result().headers[HINT] for task in done]
                tasks = [task for task in tasks if task not in done]
            assert sorted(hints) == sorted("012" * 3)

    run(work())


def test_equal_loads_take_turns() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            hints = []
            for _ in range(4):
                response = await r.infer(query=sealed_for(0))
                hints.append(response.headers[HINT])
                r.timers.advance(1)  # whoever was told has not come
            assert sorted(hints) == ["0", "0", "1", "1"]

    run(work())


def test_a_lost_triple_gets_503_and_no_hints() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            await r.lose(1, triple=1)
            response = await r.infer(query=sealed_for(1))
            assert response.status_code == 503
            assert response.json()["code"] == "party_down"
            for _ in range(3):
                response = await r.infer(query=sealed_for(0))
                assert response.status_code == 200
                assert response.headers[HINT] == "0"
            body = (await r.client.get("/v2/keys")).json()
            assert (body["triple"], body["more"]) == (0, [])
            assert (await r.client.get("/v2/health/ready")).status_code == 200
            value = r.gateway.metrics.registry.get_sample_value
            assert value("libmpc_gateway_failovers_total", {"triple": "1"}) == 1
            assert value("libmpc_gateway_triple_ready", {"triple": "1"}) == 0
            assert value("libmpc_gateway_triple_ready", {"triple": "0"}) == 1
            assert value("libmpc_gateway_triple_queries_total", {"triple": "0"}) == 3
            assert value("libmpc_gateway_party_up", {"party": "1", "triple": "1"}) == 0

    run(work())


def test_a_triple_that_comes_back_is_used_again() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            await r.lose(2, triple=0)
            assert not r.gateway.router.first.ready
            r.parties[2].down = False
            await ready(r)
            body = (await r.client.get("/v2/keys")).json()
            assert {body["triple"], *(one["triple"] for one in body["more"])} == {0, 1}

    run(work())


def test_a_triple_that_says_that_it_is_not_ready_gets_no_hints() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            r.triples[0][2].ready = False
            await r.clock.advance(READY_SECONDS)
            r.timers.advance(READY_SECONDS)
            await until(lambda: not r.gateway.router.first.ready)
            response = await r.infer(query=sealed_for(1))
            assert response.headers[HINT] == "1"
            # Its keys are there all the same: models are pushed to it.
            body = (await r.client.get("/v2/keys")).json()
            assert [body["triple"], *(one["triple"] for one in body["more"])] == [1, 0]

    run(work())


def test_nothing_is_ready_when_no_triple_is() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            await r.lose(0, triple=0)
            assert (await r.client.get("/v2/health/ready")).status_code == 200
            await r.lose(2, triple=1)
            response = await r.client.get("/v2/health/ready")
            assert response.status_code == 503
            error = response.json()["error"]
            assert "triple 0: party 0 is not reachable" in error
            assert "triple 1: party 2 is not reachable" in error

    run(work())


def test_keys_that_another_gateway_has_handed_out() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            first = await asyncio.gather(*(r.infer(query=sealed_for(t % 2)) for t in range(6)))
            assert {response.status_code for response in first} == {200}
            assert (asked(r, 0), asked(r, 1)) == (3, 3)
            for triple in r.triples:
                assert len(triple[0].payloads(Kind.KEYS)) == 1  # once for all of them

    run(work())


def test_unknown_keys_are_409_and_cost_one_question_a_second() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            for _ in range(5):
                response = await r.infer(query=header(key_ids=("ab" * 8, "cd" * 8)))
                assert response.status_code == 409
                assert "fetch the new ones" in response.json()["error"]
            heard = [len(triple[0].payloads(Kind.KEYS)) for triple in r.triples]
            assert heard == [1, 1]
            r.timers.advance(ASK_SECONDS)
            assert (await r.infer(query=header(key_ids=("ab" * 8, "cd" * 8)))).status_code == 409
            assert len(r.parties[0].payloads(Kind.KEYS)) == 2

    run(work())


def test_a_frozen_triple_does_not_keep_back_the_keys_of_others() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            r.triples[1][0].frozen = True
            body = (await r.client.get("/v2/keys")).json()
            assert (body["triple"], body["more"]) == (0, [])

    run(work())


def test_lists_and_metadata_come_from_another_triple_when_the_first_is_lost() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            await r.lose(1)
            listed = (await r.client.get("/v2/models")).json()["models"]
            assert [(m["name"], m["state"], m["ready"]) for m in listed] == [
                ("digits", "serving", True)
            ]
            body = (await r.client.get("/v2/models/digits")).json()["libmpc"]
            assert (body["triple"], body["more"]) == (1, [])
            assert (await r.client.get("/v2/models/digits/ready")).status_code == 200
            assert (await r.client.get("/v2/models/letters")).status_code == 404

    run(work())


def test_a_model_with_a_limit_has_the_keys_of_triple_0_only() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            for each in r.triples:
                for party in each:
                    party.models = [state(party.index, num_requests=10)]
            for _ in range(3):
                body = (await r.client.get("/v2/models/digits")).json()["libmpc"]
                assert (body["triple"], body["more"]) == (0, [])
            await r.lose(1)
            for path in ("/v2/models/digits", "/v2/models/digits/ready"):
                response = await r.client.get(path)
                assert response.status_code == 503
                assert "party 1 is not reachable" in response.json()["error"]
            (listed,) = (await r.client.get("/v2/models")).json()["models"]
            assert not listed["ready"]

    run(work())


def test_a_refusal_says_that_it_is_not_here() -> None:
    async def work() -> None:
        async with rig(triples=2) as r:
            await ready(r)
            refusal = Refusal(status=503, error="at triple 0", code="not_here")
            for party in r.triples[1]:
                party.refusals[Kind.BATCH] = refusal
            response = await r.infer(query=sealed_for(1))
            assert (response.status_code, response.json()["code"]) == (503, "not_here")

    run(work())

"""Parties that are down, frozen, lost or unwilling: a clear status, in bounded time."""

from __future__ import annotations

import asyncio

import pytest

from libmpc.party.messages import Kind, Refusal
from services.gateway.query import GRACE_SECONDS
from tests.gateway.rig import Rig, rig, run
from tests.manual_clock import settle


async def back(r: Rig, party: int) -> None:
    """The party is there again, and the gateway finds it."""
    r.parties[party].down = False
    while not r.gateway.router.first.links[party].up:
        await r.clock.advance(2.0)


@pytest.mark.parametrize("party", [0, 1])
def test_a_party_that_is_down_is_named(party: int) -> None:
    async def work() -> None:
        async with rig() as r:
            await r.lose(party)
            response = await r.infer()
            assert response.status_code == 503
            assert f"party {party} is not reachable" in response.json()["error"]
            assert response.headers["Retry-After"] == "1"
            ready = await r.client.get("/v2/health/ready")
            assert ready.status_code == 503
            assert f"party {party}" in ready.json()["error"]
            await back(r, party)
            assert (await r.infer()).status_code == 200
            r.timers.advance(1)
            assert (await r.client.get("/v2/health/ready")).status_code == 200

    run(work())


@pytest.mark.parametrize("party", [0, 1])
def test_a_party_that_dies_fails_its_queries_at_once(party: int) -> None:
    async def work() -> None:
        async with rig() as r:
            for each in r.parties:
                each.holding = True
            tasks = [r.infer_soon() for _ in range(4)]
            for each in r.parties[:2]:
                await each.wait_for(Kind.BATCH, 2)
            await r.lose(party)
            for response in await asyncio.gather(*tasks):
                assert response.status_code == 503
                assert f"party {party} is not reachable" in response.json()["error"]

    run(work())


@pytest.mark.parametrize("party", [0, 1])
def test_a_frozen_party_is_503_within_the_deadline(party: int) -> None:
    async def work() -> None:
        async with rig() as r:
            await r.infer()
            r.parties[party].frozen = True
            query = r.infer_soon(timeout=3_000_000)
            await r.parties[party].wait_for(Kind.BATCH, 2)
            r.timers.advance(2.99)
            await settle()
            assert not query.done()
            r.timers.advance(0.02)
            response = await query
            assert response.status_code == 503
            assert "within 3 s" in response.json()["error"]
            assert "Retry-After" in response.headers

    run(work())


def test_a_silent_link_fails_its_queries_before_the_deadline() -> None:
    async def work() -> None:
        async with rig() as r:
            for each in r.parties:
                each.holding = True
            query = r.infer_soon()
            await r.parties[1].wait_for(Kind.BATCH)
            r.parties[1].down = True
            # The fakes' heartbeats are on clocks that stand still: to us they are all frozen.
            await r.clock.advance(4.0)
            response = await query
            assert response.status_code == 503
            assert "not reachable" in response.json()["error"]

    run(work())


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422, 429])
@pytest.mark.parametrize("party", [0, 1])
def test_a_refusal_keeps_its_status(party: int, status: int) -> None:
    async def work() -> None:
        async with rig() as r:
            refusal = Refusal.model_validate({"status": status, "error": "because"})
            r.parties[party].refusals[Kind.BATCH] = refusal
            # The other one cannot go on without it.
            vague = Refusal(status=503, error="the other evaluator ended the run", retry_after=4)
            r.parties[1 - party].refusals[Kind.BATCH] = vague
            response = await r.infer()
            assert response.status_code == status
            assert response.json()["error"] == "because"
            assert "Retry-After" not in response.headers

    run(work())


def test_a_vague_refusal_waits_a_moment_for_a_better_one() -> None:
    async def work() -> None:
        async with rig() as r:
            r.parties[0].refusals[Kind.BATCH] = Refusal(
                status=503, error="no bundle in time", retry_after=7
            )
            r.parties[1].holding = True
            query = r.infer_soon()
            await r.parties[1].wait_for(Kind.BATCH)
            await settle()
            assert not query.done()
            r.timers.advance(GRACE_SECONDS)
            response = await query
            assert response.status_code == 503
            assert response.json()["error"] == "party 0: no bundle in time"
            assert response.headers["Retry-After"] == "7"

    run(work())


def test_the_dealer_is_named_where_it_may_be_the_reason() -> None:
    async def work() -> None:
        async with rig() as r:
            await r.lose(2)
            assert (await r.infer()).status_code == 200  # bundles may be left
            for party in r.parties[:2]:
                party.refusals[Kind.BATCH] = Refusal(status=503, error="not ready")
            text = (await r.infer()).json()["error"]
            assert text == "party 0: not ready; party 2 is not reachable"

    run(work())


def test_a_batch_that_is_refused_as_a_whole() -> None:
    async def work() -> None:
        async with rig() as r:
            refusal = Refusal(status=429, error="too many requests at once", retry_after=1)

            def refuse(kind: Kind) -> None:
                party = r.parties[0]
                link = party.links[0]
                if kind == Kind.BATCH:
                    party.frozen = True
                    request = link.received.messages
                    link.post(Kind.RESPONSE, request, refusal.status, refusal.encode())

            r.parties[0].on_request = refuse
            response = await r.infer()
            assert response.status_code == 429
            assert response.headers["Retry-After"] == "1"

    run(work())


@pytest.mark.parametrize("kind", [Kind.RESPONSE, Kind.RESULT, Kind.ROUND])
def test_nonsense_from_a_party_harms_only_itself(kind: Kind) -> None:
    async def work() -> None:
        async with rig() as r:
            r.parties[0].frozen = True
            query = r.infer_soon(timeout=1_000_000)
            await r.parties[0].wait_for(Kind.MODELS)
            link = r.parties[0].links[0]
            link.post(kind, link.received.messages, 200, b"nonsense")
            link.post(kind, 12345, 777, b"")
            await settle()
            r.timers.advance(10)
            response = await query
            assert response.status_code == 503
            assert "party 0" in response.json()["error"]

    run(work())


def test_readiness_needs_all_three_in_one_epoch() -> None:
    async def work() -> None:
        async with rig() as r:
            assert (await r.client.get("/v2/health/ready")).status_code == 200
            r.parties[2].epoch = "e2"
            assert (await r.client.get("/v2/health/ready")).status_code == 200  # a moment's memory
            r.timers.advance(1)
            response = await r.client.get("/v2/health/ready")
            assert (response.status_code, response.json()["ready"]) == (503, False)
            assert "epoch" in response.json()["error"]
            r.parties[1].ready = False
            r.timers.advance(1)
            response = await r.client.get("/v2/health/ready")
            assert response.json()["error"] == "party 1 is not ready: no epoch"
            model = await r.client.get("/v2/models/digits/ready")
            assert (model.status_code, model.json()["ready"]) == (503, False)

    run(work())


def test_links_are_tried_for_ever_and_ever_more_slowly() -> None:
    async def work() -> None:
        async with rig() as r:
            await r.lose(1)
            tries = 0
            opening = r.gateway.router.first.links[1]._dial

            async def counted() -> object:
                nonlocal tries
                tries += 1
                return await opening()

            r.gateway.router.first.links[1]._dial = counted  # type: ignore[assignment]
            await r.clock.advance(2.9)
            assert 5 <= tries <= 12
            tries = 0
            for _ in range(50):
                await r.clock.advance(1.0)
            assert 25 <= tries <= 50
            await back(r, 1)

    run(work())

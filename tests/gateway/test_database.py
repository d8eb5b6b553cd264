"""Two gateways in front of one PostgreSQL: tokens, quotas and rates are of both together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from libmpc.access.opening import Where
from libmpc.identity.token import token_id
from services.gateway.access import FRESH_SECONDS, POLL_SECONDS
from tests.gateway.rig import Rig, header, rig, run
from tests.postgres import Server


def beside(where: Where, **changes: object) -> contextlib.AbstractAsyncContextManager[Rig]:
    """A gateway of its own with that database."""
    chosen = {"database": where.database, "token_sha256": None, "database_timeout": 10}
    return rig(**(chosen | changes))


async def made(r: Rig, **limits: Any) -> str:
    """A new token, which this gateway knows of."""
    token = r.token("client", **limits)
    await r.gateway.access.refresh()
    return token


async def becomes(r: Rig, status: int) -> None:
    """Ask until that is the answer; the test's own limit ends what never is."""
    while (await r.client.get("/v2")).status_code != status:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def two(where: Where, **changes: object) -> AsyncIterator[tuple[Rig, Rig]]:
    async with beside(where, **changes) as first, beside(where, **changes) as second:
        yield first, second


def test_what_one_gateway_changes_the_other_knows_at_its_next_question(shared_where: Where) -> None:
    async def work() -> None:
        async with two(shared_where) as (first, second):
            token = await made(first)
            async with first.bearing(token) as here, second.bearing(token) as there:
                assert (await here.client.get("/v2")).status_code == 200
                second.timers.advance(POLL_SECONDS)
                await becomes(there, 200)
                admin = first.token("admin")
                await first.gateway.access.refresh()
                async with first.bearing(admin) as boss:
                    url = f"/v2/tokens/{token_id(token)}"
                    assert (await boss.client.delete(url)).status_code == 200
                # At the gateway that was asked, from the next request on.
                assert (await here.client.get("/v2")).status_code == 401
                second.timers.advance(POLL_SECONDS)
                await becomes(there, 401)

    assert POLL_SECONDS < FRESH_SECONDS <= 1
    run(work())


def test_two_gateways_spend_one_quota_exactly(shared_where: Where) -> None:
    limit = 150

    async def work() -> None:
        answered = 0
        async with two(shared_where) as (first, second):
            token = await made(first, images=limit)
            await second.gateway.access.refresh()
            async with first.bearing(token) as here, second.bearing(token) as there:
                for _ in range(20):
                    asked = [one.infer(query=header(shape=(5, 4))) for one in (here, there) * 4]
                    statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
                    answered += 5 * statuses.count(200)
                    assert set(statuses) <= {200, 429}
                for one in (here, there):
                    while (await one.infer()).status_code == 200:
                        answered += 1
        assert answered == limit
        async with beside(shared_where) as again:
            (state,) = await again.gateway.access.states()
            assert state.used == {"digits": limit}

    run(work())


def test_what_one_gateway_does_not_need_the_other_gets(shared_where: Where) -> None:
    async def work() -> None:
        async with two(shared_where) as (first, second):
            token = await made(first, images=100)
            await second.gateway.access.refresh()
            async with first.bearing(token) as here, second.bearing(token) as there:
                assert (await here.infer()).status_code == 200
                refused = await there.infer(query=header(shape=(99, 4)))
                assert refused.status_code == 429
                assert "of 100 images" in refused.json()["error"]
                first.timers.advance(2)
                second.timers.advance(2)
                while (await there.infer(query=header(shape=(99, 4)))).status_code != 200:
                    second.timers.advance(2)
                    await asyncio.sleep(0.01)
                assert (await here.infer()).status_code == 429

    run(work())


def test_a_clean_stop_gives_back_and_a_crash_gives_nothing_away(shared_where: Where) -> None:
    async def work() -> None:
        async with beside(shared_where) as r:
            token = await made(r, images=1000)
            async with r.bearing(token) as client:
                assert (await client.infer(query=header(shape=(100, 4)))).status_code == 200
            counted = r.store.usage(token_id(token) or "")["digits"]
            assert counted == 100 + 900 // 8  # what a crash at this moment would leave
        store = shared_where.open()
        assert store.usage(token_id(token) or "") == {"digits": 100}
        store.close()

    run(work())


def test_two_gateways_share_a_minute(shared_where: Where) -> None:
    async def work() -> None:
        async with two(shared_where) as (first, second):
            token = await made(first, requests_per_minute=20)
            await second.gateway.access.refresh()
            begin, answered = time.monotonic(), 0
            async with first.bearing(token) as here, second.bearing(token) as there:
                for _ in range(30):
                    for one in (here, there):
                        answer = await one.infer()
                        answered += answer.status_code == 200
                        if answer.status_code == 429:
                            assert 1 <= int(answer.headers["Retry-After"]) <= 3
            elapsed = time.monotonic() - begin
            # Not 40; one more comes back every three seconds.
            assert 20 <= answered <= 20 + elapsed / 3 + 1

    run(work())


def test_without_the_database_known_tokens_count_for_a_while_and_quotas_do_not(
    postgres: Server, shared_where: Where, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    async def work() -> None:
        async with beside(shared_where, database_grace=30) as r:
            free, limited = await made(r), await made(r, images=1000)
            paced = await made(r, requests_per_minute=60)
            async with r.bearing(free) as client:
                postgres.stop()
                try:
                    r.timers.advance(POLL_SECONDS)
                    assert (await client.infer()).status_code == 200
                    for token in (limited, paced):
                        async with r.bearing(token) as counted:
                            answer = await counted.infer()
                            assert answer.status_code == 503
                            assert "Retry-After" in answer.headers
                            seen.append(answer.text)
                    metrics = generate_latest(r.gateway.metrics.registry).decode()
                    assert "libmpc_gateway_database_up 0.0" in metrics
                    seen.append(metrics)
                    assert await r.gateway.reason() == ""
                    r.timers.advance(30)
                    # SECURITY: longer than that a token that was revoked must not count.
                    assert (await client.infer()).status_code == 200
                    r.timers.advance(FRESH_SECONDS)
                    answer = await client.infer()
                    assert answer.status_code == 503
                    assert "database" in await r.gateway.reason()
                finally:
                    postgres.start()
                while (await client.infer()).status_code != 200:
                    r.timers.advance(POLL_SECONDS)
                    await asyncio.sleep(0.01)
                assert await r.gateway.reason() == ""
            for token in (limited, paced):
                async with r.bearing(token) as counted:
                    assert (await counted.infer()).status_code == 200

    run(work())
    seen.append(caplog.text)
    assert not any(postgres.password in text for text in seen)


def test_a_frozen_database_keeps_no_query(postgres: Server, shared_where: Where) -> None:
    async def work() -> None:
        async with beside(shared_where, database_timeout=0.5, database_grace=3600) as r:
            free, limited = await made(r), await made(r, images=1000)
            postgres.freeze()
            try:
                async with r.bearing(limited) as counted, r.bearing(free) as client:
                    answers = await asyncio.gather(*(counted.infer() for _ in range(20)))
                    assert {answer.status_code for answer in answers} == {503}
                    assert (await client.infer()).status_code == 200
            finally:
                postgres.thaw()
            async with r.bearing(limited) as counted:
                while (await counted.infer()).status_code != 200:
                    r.timers.advance(POLL_SECONDS)
                    await asyncio.sleep(0.01)

    run(work())

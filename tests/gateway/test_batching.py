"""Grouping: at once while idle, in batches while busy, and bounded in every direction."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from libmpc.party.messages import Kind
from tests.gateway.fakes import FakeParty, state
from tests.gateway.rig import Rig, binary_request, header, rig, run
from tests.manual_clock import settle

OTHER = "22" * 32


def hold(parties: list[FakeParty], holding: bool = True) -> None:
    for party in parties:
        party.holding = holding
        if not holding:
            party.release()


async def started(
    r: Rig, count: int, batches: int, **kwargs: object
) -> list[asyncio.Task[httpx.Response]]:
    """Send ``count`` queries one after another; ``batches`` will have left."""
    tasks = []
    for _ in range(count):
        tasks.append(r.infer_soon(**kwargs))
        await settle()
    for party in r.parties[:2]:
        await party.wait_for(Kind.BATCH, batches)
    return tasks


def sizes(r: Rig) -> list[int]:
    assert r.parties[0].batches == r.parties[1].batches  # the same queries in the same order
    return [len(numbers) for numbers in r.parties[0].batches]


async def answered(tasks: list[asyncio.Task[httpx.Response]]) -> list[int]:
    return [response.status_code for response in await asyncio.gather(*tasks)]


def test_an_idle_model_is_sent_to_at_once() -> None:
    async def work() -> None:
        async with rig() as r:
            for _ in range(3):
                assert (await r.infer()).status_code == 200
            assert sizes(r) == [1, 1, 1]

    run(work())


def test_a_busy_model_gets_batches() -> None:
    async def work() -> None:
        async with rig() as r:
            hold(r.parties)
            tasks = await started(r, 7, 2)
            assert sizes(r) == [1, 1]
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 7
            assert sizes(r) == [1, 1, 5]

    run(work())


def test_waiting_is_bounded_by_the_delay() -> None:
    async def work() -> None:
        async with rig(batches=1, max_batches=3, batch_delay=0.05) as r:
            hold(r.parties)
            tasks = await started(r, 4, 1)
            r.timers.advance(0.05)
            await r.parties[0].wait_for(Kind.BATCH, 2)
            tasks += await started(r, 2, 2)
            r.timers.advance(0.05)
            await r.parties[0].wait_for(Kind.BATCH, 3)
            tasks += await started(r, 2, 3)
            r.timers.advance(1)  # three are under way, and that is the limit
            await settle()
            assert sizes(r) == [1, 3, 2]
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 8
            assert sizes(r) == [1, 3, 2, 2]

    run(work())


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"batch_queries": 2}, [1, 1, 2, 2, 1]),
        ({"batch_rows": 9}, [1, 1, 3, 2]),
        ({"batch_rows": 1}, [1, 1, 1, 1, 1, 1, 1]),
        ({"batch_bytes": 100}, [1, 1, 3, 2]),
    ],
)
def test_batches_are_bounded(bound: dict[str, int], expected: list[int]) -> None:
    async def work() -> None:
        async with rig(**bound) as r:
            hold(r.parties)
            tasks = [r.infer_soon(query=header(shape=(3, 4))) for _ in range(7)]
            await settle()
            for party in r.parties[:2]:
                await party.wait_for(Kind.BATCH, 2)
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 7
            assert sizes(r) == expected

    run(work())


def test_a_full_queue_is_429() -> None:
    async def work() -> None:
        async with rig(queue_length=5) as r:
            hold(r.parties)
            tasks = await started(r, 5, 2)
            response = await r.infer()
            assert response.status_code == 429
            assert response.headers["Retry-After"] == "1"
            value = r.gateway.metrics.registry.get_sample_value
            assert value("libmpc_gateway_refusals_total", {"reason": "queue_full"}) == 1
            assert value("libmpc_gateway_batches") == 2
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 5

    run(work())


@pytest.mark.parametrize(
    "bound", [{"queue_length": 5}, {"queue_rows": 15}, {"queue_bytes": 5 * 33}]
)
def test_a_client_leaves_room_for_another(bound: dict[str, int]) -> None:
    async def work() -> None:
        async with rig(**bound) as r:
            hold(r.parties)
            tasks = []
            for _ in range(5):
                tasks.append(r.infer_soon(query=header(shape=(3, 4))))
                await settle()
            assert (await r.infer(query=header(shape=(3, 4)))).status_code == 429
            async with r.another_client("10.0.0.2") as other:
                one = asyncio.ensure_future(other.infer(query=header(shape=(3, 4))))
                await settle()
                assert (await other.infer(query=header(shape=(3, 4)))).status_code == 429
                hold(r.parties, False)
                assert (await one).status_code == 200
            assert await answered(tasks) == [200] * 5

    run(work())


def test_clients_take_turns() -> None:
    async def work() -> None:
        async with rig(batch_queries=4) as r, r.another_client("10.0.0.2") as other:
            hold(r.parties)
            flood = [header() for _ in range(10)]
            few = [header() for _ in range(2)]
            tasks = [r.infer_soon(query=query) for query in flood]
            await settle()
            tasks += [asyncio.ensure_future(other.infer(query=query)) for query in few]
            await settle()
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 12
            numbers = [query.number for query in flood]
            mine = [query.number for query in few]
            # Two had left before anybody else came; then it is one of each in turn.
            assert r.parties[0].batches == [
                [numbers[0]],
                [numbers[1]],
                [numbers[2], mine[0], numbers[3], mine[1]],
                numbers[4:8],
                numbers[8:],
            ]

    run(work())


def test_turns_are_counted_in_samples() -> None:
    async def work() -> None:
        async with rig(batch_rows=10) as r, r.another_client("10.0.0.2") as other:
            hold(r.parties)
            tasks = [r.infer_soon() for _ in range(2)]
            await settle()
            large = [header(shape=(9, 4)) for _ in range(2)]
            small = [header() for _ in range(10)]
            tasks += [r.infer_soon(query=query) for query in large]
            await settle()
            tasks += [asyncio.ensure_future(other.infer(query=query)) for query in small]
            await settle()
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 14
            first, second = (query.number for query in large)
            rest = [query.number for query in small]
            assert r.parties[0].batches[2:] == [
                [first, rest[0]],
                rest[1:9],
                [second, rest[9]],
            ]

    run(work())


def test_batches_grow_with_the_load() -> None:
    async def work() -> None:
        async with rig(batches=3) as r:
            hold(r.parties)
            tasks = [r.infer_soon(query=header(shape=(4, 4)))]
            await settle()
            tasks += await started(r, 3, 1)
            assert sizes(r) == [1]
            tasks += await started(r, 1, 2)  # four samples wait, and four are under way
            assert sizes(r) == [1, 4]
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 5

    run(work())


def test_the_delay_begins_with_the_first_that_waits() -> None:
    async def work() -> None:
        async with rig(batches=1, batch_delay=0.05) as r:
            hold(r.parties)
            tasks = await started(r, 1, 1)
            r.timers.advance(1)
            tasks += await started(r, 1, 1)
            r.timers.advance(0.04)
            tasks += await started(r, 1, 1)
            assert sizes(r) == [1]
            r.timers.advance(0.01)
            await r.parties[0].wait_for(Kind.BATCH, 2)
            await r.parties[1].wait_for(Kind.BATCH, 2)
            assert sizes(r) == [1, 2]
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 3

    run(work())


def test_who_gives_up_makes_room() -> None:
    async def work() -> None:
        async with rig(queue_length=3, batch_delay=10) as r:
            hold(r.parties)
            tasks = await started(r, 2, 2)
            late = [r.infer_soon(timeout=500_000) for _ in range(2)]
            await settle()
            assert (await r.infer()).status_code == 429
            r.timers.advance(0.5)
            assert await answered(late) == [503] * 2
            tasks += await started(r, 2, 2)
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 4
            assert sizes(r) == [1, 1, 2]

    run(work())


def test_a_busy_model_does_not_hold_up_another() -> None:
    async def work() -> None:
        async with rig(queue_length=3) as r:
            for party in r.parties:
                party.models.append(state(party.index, "letters", OTHER))
            hold(r.parties)
            tasks = await started(r, 4, 2)
            assert (await r.infer()).status_code == 429
            for party in r.parties:
                party.holding = False
            assert (await r.infer("letters", query=header(model=OTHER))).status_code == 200
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 4

    run(work())


def test_a_query_that_was_not_sent_yet_expires() -> None:
    async def work() -> None:
        async with rig(batch_delay=10) as r:
            hold(r.parties)
            tasks = await started(r, 2, 2)
            late = r.infer_soon(timeout=500_000)
            await settle()
            r.timers.advance(0.5)
            response = await late
            assert response.status_code == 503
            assert "0.5 s" in response.json()["error"]
            assert "Retry-After" in response.headers
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 2
            assert (await r.infer()).status_code == 200
            assert sizes(r) == [1, 1, 1]

    run(work())


def test_the_batch_has_the_time_of_its_most_patient_query() -> None:
    async def work() -> None:
        async with rig(batch_delay=10) as r:
            hold(r.parties)
            tasks = await started(r, 2, 2)
            tasks += await started(r, 1, 2, timeout=2_000_000)
            tasks += await started(r, 1, 2, timeout=9_000_000)
            r.timers.advance(1)
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 4
            assert r.parties[0].timeouts[2] == 8000

    run(work())


def test_one_number_twice_is_refused() -> None:
    async def work() -> None:
        async with rig() as r:
            hold(r.parties)
            query = header()
            first = r.infer_soon(query=query)
            await r.parties[0].wait_for(Kind.BATCH)
            assert (await r.infer(query=query)).status_code == 409
            hold(r.parties, False)
            assert (await first).status_code == 200

    run(work())


async def _disconnecting(r: Rig, sent: list[object]) -> tuple[asyncio.Task[None], asyncio.Event]:
    """A query whose client can go away; what is ``sent`` to it."""
    content, headers = binary_request()
    gone = asyncio.Event()
    events = iter([{"type": "http.request", "body": content}])

    async def receive() -> dict[str, object]:
        if (event := next(events, None)) is not None:
            return event
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    fields = {**r.client.headers, **{name.lower(): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v2/models/digits/infer",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }
    task = asyncio.ensure_future(r.app(scope, receive, send))
    await settle()
    return task, gone


def test_a_client_that_left_is_not_sent_for() -> None:
    async def work() -> None:
        async with rig(batch_delay=10) as r:
            hold(r.parties)
            tasks = await started(r, 2, 2)
            sent: list[object] = []
            waiting, gone = await _disconnecting(r, sent)
            value = r.gateway.metrics.registry.get_sample_value
            assert value("libmpc_gateway_queue_length") == 1
            gone.set()
            await waiting
            assert sent == []
            assert value("libmpc_gateway_queue_length") == 0
            assert value("libmpc_gateway_queries_total", {"outcome": "disconnected"}) == 1
            hold(r.parties, False)
            assert await answered(tasks) == [200] * 2
            assert sizes(r) == [1, 1]

    run(work())


def test_a_client_that_left_too_late_does_no_harm() -> None:
    async def work() -> None:
        async with rig() as r:
            hold(r.parties)
            left, gone = await _disconnecting(r, [])
            await r.parties[1].wait_for(Kind.BATCH)
            gone.set()
            await left
            hold(r.parties, False)
            assert (await r.infer()).status_code == 200

    run(work())


def test_stopping_lets_queries_finish_and_then_fails_them() -> None:
    async def work() -> None:
        async with rig() as r:
            hold(r.parties)
            tasks = await started(r, 3, 2)
            draining = asyncio.ensure_future(r.gateway.drain(1.0))
            await settle()
            assert (await r.infer()).status_code == 503
            assert (await r.client.get("/v2/health/ready")).status_code == 503
            assert not draining.done()
            r.timers.advance(1.0)
            await draining
            assert await answered(tasks) == [503] * 3

    run(work())


def test_stopping_ends_as_soon_as_nothing_is_left() -> None:
    async def work() -> None:
        async with rig() as r:
            hold(r.parties)
            tasks = await started(r, 3, 2)
            draining = asyncio.ensure_future(r.gateway.drain(1.0))
            hold(r.parties, False)
            await draining
            assert await answered(tasks) == [200] * 3

    run(work())

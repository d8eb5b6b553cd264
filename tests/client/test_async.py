"""The asynchronous twin does what the blocking client does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest

from libmpc.client import AsyncClient, Client
from libmpc.errors import InputError, IntegrityError, UnavailableError
from libmpc.graph.floating import apply_final
from libmpc.graph.model import Model
from tests.client.fake import FakeDeployment, failure, images, once, tiny_model

T = TypeVar("T")


def run(fake: FakeDeployment, work: Callable[[AsyncClient], Awaitable[T]], **settings: Any) -> T:
    async def main() -> T:
        given = {"transport": fake.transport(), "clock": fake.clock, **settings}
        async with AsyncClient(fake.path, **given) as client:
            return await work(client)

    return asyncio.run(main())


@pytest.mark.parametrize("batch", [1, 12_000])  # the second is sealed in a thread
def test_the_same_answer(fake: FakeDeployment, model: Model, batch: int) -> None:
    found = run(fake, lambda client: client.query("tiny", images(batch)))
    assert np.array_equal(found, model.reference(images(batch)))


def test_lists_and_probabilities(fake: FakeDeployment) -> None:
    model = tiny_model(final="softmax")
    fake.publish(model, "finished")
    rows = images(2).tolist()
    found = run(fake, lambda client: client.query("finished", rows, final=True))
    assert np.array_equal(found, apply_final("softmax", model.reference(images(2))))


def test_the_same_requests(fake: FakeDeployment, client: Client) -> None:
    client.query("tiny", images())
    blocking = list(fake.requests)
    fake.requests.clear()
    run(fake, lambda twin: twin.query("tiny", images()))
    assert fake.requests == blocking


def test_many_tasks_share_a_client(fake: FakeDeployment, model: Model) -> None:
    async def work(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(*(client.query("tiny", images(2, s)) for s in range(20)))

    found = run(fake, work)
    for seed, logits in enumerate(found):
        assert np.array_equal(logits, model.reference(images(2, seed)))
    assert len(set(fake.numbers)) == 20


def test_describe_and_models(fake: FakeDeployment) -> None:
    assert run(fake, lambda client: client.describe("tiny")).model == fake.stored("tiny")
    assert [m.name for m in run(fake, lambda client: client.models())] == ["tiny"]


def test_retries_pause_on_the_clock(fake: FakeDeployment, model: Model) -> None:
    fake.before.append(once(failure(503, "down", 2), httpx.ConnectError("refused")))
    found = run(fake, lambda client: client.query("tiny", images()))
    assert np.array_equal(found, model.reference(images()))
    assert [2 <= fake.clock.pauses[0] <= 2.2, len(fake.clock.pauses)] == [True, 2]


def test_the_same_errors(fake: FakeDeployment) -> None:
    with pytest.raises(InputError):
        run(fake, lambda client: client.query("tiny", np.zeros(3)))
    fake.tamper = lambda replies: replies[::-1]  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="cannot be opened"):
        run(fake, lambda client: client.query("tiny", images()))


def test_errors_of_a_large_query_come_out_of_the_thread(fake: FakeDeployment) -> None:
    with pytest.raises(InputError, match="divide by 255"):
        run(fake, lambda client: client.query("tiny", np.full((9000, 2, 2, 1), 255.0)))


def test_a_gateway_that_never_answers(fake: FakeDeployment) -> None:
    async def silent(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    transport = httpx.MockTransport(silent)
    with pytest.raises(UnavailableError, match="within 0.05 s"):
        run(fake, lambda client: client.models(), transport=transport, timeout=0.05)


def test_cancelling_is_not_an_answer(fake: FakeDeployment) -> None:
    started = asyncio.Event()

    async def silent(request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def work(client: AsyncClient) -> bool:
        task = asyncio.create_task(client.query("tiny", images()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return True

    assert run(fake, work, transport=httpx.MockTransport(silent))


def test_what_it_prints(fake: FakeDeployment) -> None:
    async def show(client: AsyncClient) -> str:
        return repr(client)

    assert run(fake, show) == "AsyncClient(gateway='https://127.0.0.1:7')"

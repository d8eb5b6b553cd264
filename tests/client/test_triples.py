"""Which triple a query is sealed for, and what happens when that one does not answer."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from libmpc.client import AsyncClient, Client
from libmpc.client.places import STALE_MS
from libmpc.cluster.remote import Cluster
from libmpc.errors import LimitError, UnavailableError
from libmpc.graph.model import Model
from tests.client.fake import failure, images, once, tiny_model
from tests.client.triples import FakeTriples

Connect = Callable[..., Client]


@pytest.fixture
def fake(made: Path, tmp_path: Path, model: Model) -> Iterator[FakeTriples]:
    """Three triples that serve ``model`` as "tiny"."""
    fake = FakeTriples(shutil.copytree(made, tmp_path / "run"))
    fake.models[fake.stored("tiny")] = model
    yield fake
    fake.close()


def fetched(fake: FakeTriples) -> int:
    return fake.requests.count(("GET", "/v2/models/tiny"))


def ask(client: Client, model: Model, count: int = 1) -> None:
    for seed in range(count):
        x = images(3, seed)
        assert np.array_equal(client.query("tiny", x), model.reference(x))


def test_the_first_keys_are_used_and_then_those_of_the_hint(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    fake.order = [1, 0, 2]
    fake.hints = [2, 2, 0, 1]
    ask(client, model, 5)
    assert fake.asked == [1, 2, 2, 0, 1]
    assert fetched(fake) == 1


def test_without_a_hint_a_client_stays_where_it_is(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    fake.hints = [2]
    ask(client, model, 4)
    assert fake.asked == [0, 2, 2, 2]


@pytest.mark.parametrize("hint", ["", "-1", "1.0", "x", "٢", "9" * 5000, "64"])
def test_a_hint_that_makes_no_sense(
    fake: FakeTriples, client: Client, model: Model, hint: str
) -> None:
    if hint.isascii():
        fake.hints = [hint]
    ask(client, model, 2)
    assert fake.asked == [0, 0]
    assert fetched(fake) == 1


@pytest.mark.parametrize("code", ["party_down", "not_ready", ""])
def test_a_lost_triple_is_left_at_once(
    fake: FakeTriples, client: Client, model: Model, code: str
) -> None:
    fake.down = {0: code}
    ask(client, model)
    assert fake.asked == [0, 1]
    assert len(set(fake.numbers)) == 1
    assert sum(fake.clock.pauses) == 0
    ask(client, model, 2)
    assert fake.asked == [0, 1, 1, 1]  # and not tried again with every query


def test_two_lost_triples(fake: FakeTriples, client: Client, model: Model) -> None:
    fake.down = {0: "party_down", 1: "party_down"}
    ask(client, model)
    assert fake.asked == [0, 1, 2]
    assert sum(fake.clock.pauses) == 0


def test_when_all_are_lost_the_usual_pauses_follow_and_the_usual_end(
    fake: FakeTriples, client: Client
) -> None:
    fake.down = dict.fromkeys(range(3), "party_down")
    with pytest.raises(UnavailableError, match="is lost"):
        client.query("tiny", images())
    assert fake.asked[:3] == [0, 1, 2]
    assert len(fake.asked) == 4  # as often as with one triple
    assert sum(fake.clock.pauses) >= 1


def test_without_retries_there_is_no_other_triple(fake: FakeTriples, connect: Connect) -> None:
    fake.down = {0: "party_down"}
    with pytest.raises(UnavailableError):
        connect(retries=0).query("tiny", images())
    assert fake.asked == [0]


@pytest.mark.parametrize("code", ["memory_full", "stopping", "late"])
def test_what_is_no_fault_of_a_triple_is_waited_for(
    fake: FakeTriples, connect: Connect, model: Model, code: str
) -> None:
    fake.down = {0: code}
    with pytest.raises(UnavailableError):
        connect(retries=1).query("tiny", images())
    assert fake.asked == [0, 0]
    assert sum(fake.clock.pauses) >= 1


def test_a_limit_is_the_same_at_every_triple(fake: FakeTriples, client: Client) -> None:
    fake.before.append(once(failure(429, "used up")))
    with pytest.raises(LimitError):
        client.query("tiny", images())
    assert fake.asked == []


def test_a_model_that_is_not_there_is_asked_for_anew(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    fake.order = [1, 0]
    ask(client, model)
    fake.down, fake.order = {1: "not_here"}, [0]  # it has a limit now: triple 0 counts
    ask(client, model)
    assert fake.asked == [1, 1, 0]
    assert sum(fake.clock.pauses) == 0


def test_a_hint_at_a_new_triple_brings_its_keys(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    fake.order, fake.hints = [0], [1, 1, 1]
    ask(client, model)
    assert fetched(fake) == 1
    fake.order = [0, 1]
    ask(client, model)
    assert (fake.asked, fetched(fake)) == ([0, 0], 1)  # not more often than every ten seconds
    fake.clock.passed += STALE_MS / 1000 + 1
    ask(client, model, 2)
    assert (fake.asked, fetched(fake)) == ([0, 0, 0, 1], 2)


def test_hints_for_a_model_with_a_limit_are_not_followed(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    fake.order, fake.hints = [0], [1, 2]
    real = fake.state
    fake.state = lambda name: {**real(name), "num_requests": 100}  # type: ignore[method-assign]
    for _ in range(3):
        ask(client, model)
        fake.clock.passed += STALE_MS / 1000 + 1
    assert (fake.asked, fetched(fake)) == ([0, 0, 0], 1)


def test_keys_of_another_triple_that_cannot_be_believed_are_not_used(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    # Signed by party 1 where party 0's should be.
    fake.sets[1] = [fake.new_keys(1), fake.new_keys(1), fake.new_keys(2)]
    fake.hints = [1, 2]
    ask(client, model, 3)
    assert fake.asked == [0, 0, 2]


def test_many_queries_are_spread(fake: FakeTriples, client: Client, model: Model) -> None:
    fake.hints = [0, 1, 2] * 10
    x = images(24)
    assert np.array_equal(
        client.query_many("tiny", x, batch_size=1, in_flight=3), model.reference(x)
    )
    assert set(fake.asked) == {0, 1, 2}


# ---- evaluations


def correct(model: Model, x: Any, y: Any) -> int:
    return int((model.reference(x).argmax(axis=1) == y).sum())


def test_all_parts_of_an_evaluation_go_to_one_triple(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    x, y = images(20), np.random.default_rng(1).integers(0, 3, 20)
    fake.order, fake.hints = [2, 0, 1], [0, 1, 0, 1, 0, 1]
    score = client.evaluate("tiny", x, y, batch_size=4)
    assert score.correct == correct(model, x, y)
    assert fake.asked == [2] * 6


def test_the_first_part_may_go_elsewhere(fake: FakeTriples, client: Client, model: Model) -> None:
    x, y = images(20), np.random.default_rng(1).integers(0, 3, 20)
    fake.down = {0: "party_down"}
    assert client.evaluate("tiny", x, y, batch_size=4).correct == correct(model, x, y)
    assert fake.asked == [0] + [1] * 6


def test_an_evaluation_waits_for_its_triple(
    fake: FakeTriples, client: Client, model: Model
) -> None:
    x, y = images(20), np.random.default_rng(1).integers(0, 3, 20)
    answer = fake.infer

    def lost_for_a_while(name: str, request: Any) -> Any:
        if len(fake.asked) == 3:
            fake.down = {0: "party_down"}
        if len(fake.asked) == 5:
            fake.down = {}
        return answer(name, request)

    fake.infer = lost_for_a_while  # type: ignore[method-assign]
    score = client.evaluate("tiny", x, y, batch_size=4, in_flight=1)
    assert score.correct == correct(model, x, y)
    assert set(fake.asked) == {0}
    assert sum(fake.clock.pauses) >= 2


def test_an_evaluation_does_not_go_on_elsewhere(fake: FakeTriples, client: Client) -> None:
    x, y = images(20), np.random.default_rng(1).integers(0, 3, 20)
    answer = fake.infer

    def lost(name: str, request: Any) -> Any:
        if len(fake.asked) == 3:
            fake.down, fake.order = {0: "party_down"}, [1, 2]
        return answer(name, request)

    fake.infer = lost  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="triple 0"):
        client.evaluate("tiny", x, y, batch_size=4, in_flight=1)
    assert set(fake.asked) == {0}


# ---- asynchronous, and owners


def test_the_asynchronous_client_does_the_same(fake: FakeTriples, model: Model) -> None:
    fake.down, fake.hints = {0: "party_down"}, [2, 1]

    async def work() -> None:
        async with AsyncClient(
            fake.path,
            transport=fake.transport(),
            clock=fake.clock,
        ) as client:
            for seed in range(3):
                x = images(3, seed)
                assert np.array_equal(await client.query("tiny", x), model.reference(x))

    asyncio.run(work())
    assert fake.asked == [0, 1, 2, 1]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_a_model_is_sealed_for_triple_0(fake: FakeTriples, order: list[int]) -> None:
    fake.order = order
    with Cluster(fake.path, transport=fake.transport(), clock=fake.clock) as cluster:
        cluster.share(tiny_model(seed=7), "other", serve=True)


def test_a_model_waits_for_triple_0(fake: FakeTriples) -> None:
    fake.order = [1, 2]
    with (
        Cluster(fake.path, transport=fake.transport(), clock=fake.clock) as cluster,
        pytest.raises(UnavailableError, match="triple 0, where models are managed"),
    ):
        cluster.share(tiny_model(seed=7), "other", serve=True)


def test_a_push_that_a_triple_does_not_have_yet_is_not_sent_again(fake: FakeTriples) -> None:
    def behind(request: httpx.Request) -> httpx.Response | None:
        if request.method != "PUT":
            return None
        body = {"error": "triple 1 follows", "code": "follows"}
        return httpx.Response(503, json=body, headers={"Retry-After": "1"})

    fake.before.append(behind)
    with (
        Cluster(fake.path, transport=fake.transport(), clock=fake.clock) as cluster,
        pytest.raises(UnavailableError, match="triple 1 follows"),
    ):
        cluster.share(tiny_model(seed=7), "other", serve=True)
    assert [method for method, _ in fake.requests].count("PUT") == 1

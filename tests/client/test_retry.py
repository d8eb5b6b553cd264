"""What is tried again, after how long, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from libmpc.client import Client, RetryPolicy
from libmpc.client.http import LostError, unreachable
from libmpc.client.retry import Attempts, UnsettledError
from libmpc.errors import (
    AuthenticationError,
    ConflictError,
    IntegrityError,
    LimitError,
    ModelNotFoundError,
    ServiceError,
    UnavailableError,
)
from libmpc.graph.model import Model
from libmpc.wire.command import Command
from tests.client.fake import FakeDeployment, StepClock, failure, images, once

Connect = Callable[..., Client]
REFUSED = httpx.ConnectError("refused")


def busy(retry_after: float | None = 1) -> UnavailableError:
    return UnavailableError("busy", status=503, retry_after=retry_after)


def attempts(clock: StepClock, jitter: float = 1.0, **settings: float) -> Attempts:
    timeout = settings.pop("timeout", 30.0)
    policy = RetryPolicy(**settings)  # type: ignore[arg-type]
    return Attempts(policy, timeout, clock.monotonic, lambda: jitter)


def test_pauses_grow_to_a_limit() -> None:
    tries = attempts(StepClock(), retries=5, first=1, longest=5, timeout=100)
    assert [tries.after(unreachable("g")) for _ in range(5)] == [1, 2, 4, 5, 5]
    with pytest.raises(LostError):
        tries.after(unreachable("g"))


def test_jitter_takes_up_to_half() -> None:
    assert attempts(StepClock(), jitter=0.0, first=1).after(unreachable("g")) == 0.5


def test_a_service_that_asks_for_more_time_gets_it() -> None:
    assert attempts(StepClock(), jitter=0.0).after(busy(7)) == 7


def test_no_pause_goes_beyond_the_timeout() -> None:
    clock = StepClock()
    tries = attempts(clock, timeout=3)
    clock.passed = 2.5
    with pytest.raises(UnavailableError):
        tries.after(busy(1))


@pytest.mark.parametrize(
    "error",
    [
        busy(None),
        LimitError("used up", status=429),
        ServiceError("bad", status=400),
        ServiceError("strange", status=422, retry_after=1),
        AuthenticationError("no", status=401, retry_after=1),
        ModelNotFoundError("none", status=404),
        IntegrityError("tampered", retry_after=1),
    ],
)
def test_what_will_not_pass_is_not_waited_for(error: ServiceError) -> None:
    with pytest.raises(type(error)):
        attempts(StepClock()).after(error)


@pytest.mark.parametrize("error", [ConflictError("old key", status=409), UnsettledError("two")])
def test_a_conflict_is_looked_at_again_twice(error: ServiceError) -> None:
    tries = attempts(StepClock(), retries=0)
    assert [tries.after(error) for _ in range(2)] == [0, 0.2]
    with pytest.raises(type(error)):
        tries.after(error)


@pytest.mark.parametrize("bad", [{"retries": -1}, {"first": -1.0}, {"longest": -1.0}])
def test_policies_that_make_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="negative"):
        RetryPolicy(**bad)


# ---- whole queries


@pytest.mark.parametrize(
    "trouble",
    [
        [failure(503, "a party is down", 1)],
        [failure(503, "a party is down", 1)] * 3,
        [failure(429, "a queue is full", 1)],
        [httpx.ReadError("reset")],
        [httpx.RemoteProtocolError("gone")],
        [REFUSED, REFUSED],
        [failure(409, "an old key")],
        [failure(409, "an old key"), failure(503, "down", 1), failure(409, "an old key")],
    ],
)
def test_trouble_that_passes(
    client: Client,
    fake: FakeDeployment,
    model: Model,
    trouble: list[httpx.Response | Exception],
) -> None:
    fake.before.append(once(*trouble))
    assert np.array_equal(client.query("tiny", images()), model.reference(images()))


def test_a_retry_is_a_new_sealing(client: Client, fake: FakeDeployment) -> None:
    bodies: list[bytes] = []

    def lose_answer(request: httpx.Request) -> None:
        if not request.url.path.endswith("/infer"):
            return
        bodies.append(request.content)
        fake.answer(request)  # the parties have computed it
        if len(bodies) < 3:
            raise httpx.ReadError("reset")

    fake.before.append(lose_answer)
    client.query("tiny", images())
    assert len(bodies) == 3
    numbers, seeds = fake.numbers[:3], fake.seeds[:3]
    assert len(set(numbers)) == len(set(seeds)) == 3
    # No 32 bytes of one sealed body occur in another.
    ends = [body[-32:] for body in bodies]
    assert all(
        (end in body) == (i == j) for i, end in enumerate(ends) for j, body in enumerate(bodies)
    )


def test_a_party_that_restarted_has_a_new_key(
    client: Client, fake: FakeDeployment, model: Model
) -> None:
    client.query("tiny", images())
    fake.restart(1)
    assert np.array_equal(client.query("tiny", images()), model.reference(images()))
    assert fake.clock.pauses == [0.0]


def test_it_gives_up_in_seconds(client: Client, fake: FakeDeployment) -> None:
    fake.before.append(once(*[failure(503, "party 1 is not reachable", 1)] * 99))
    with pytest.raises(UnavailableError, match="party 1 is not reachable") as caught:
        client.query("tiny", images())
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    assert len(fake.clock.pauses) == 3
    assert 3 <= fake.clock.passed <= 3.3


def test_the_gateway_is_down(client: Client, fake: FakeDeployment) -> None:
    fake.before.append(once(*[REFUSED] * 99, suffix="/v2"))
    with pytest.raises(UnavailableError, match="not reachable: is it running.*libmpc up"):
        client.query("tiny", images())
    assert len(fake.requests) == 4
    assert fake.clock.passed < 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ServiceError),
        (403, AuthenticationError),
        (404, ModelNotFoundError),
        (413, ServiceError),
        (422, ServiceError),
        (429, LimitError),
        (500, ServiceError),
    ],
)
def test_final_refusals(
    client: Client, fake: FakeDeployment, status: int, kind: type[ServiceError]
) -> None:
    fake.before.append(once(*[failure(status, "because")] * 9))
    with pytest.raises(kind, match="because") as caught:
        client.query("tiny", images())
    assert caught.value.status == status
    assert fake.clock.pauses == []
    assert sum(path.endswith("/infer") for _, path in fake.requests) == 1


def test_a_wrong_token(connect: Connect, fake: FakeDeployment) -> None:
    with pytest.raises(AuthenticationError, match="valid token.*credential file"):
        connect(token="x" * 20).query("tiny", images())
    assert len(fake.requests) == 1


def command(fake: FakeDeployment, action: str) -> None:
    assert fake.owner is not None
    fake.clock.passed += 1
    now = int(fake.clock.now() * 1000)
    signed = fake.owner.sign_document(
        Command(
            deployment=fake.deployment.id.hex(),
            name="tiny",
            model=fake.stored("tiny"),
            action=action,  # type: ignore[arg-type]
            command_id="00" * 16,
            issued_ms=now,
            expires_ms=now + 1000,
        )
    )
    for catalog in fake.catalogs:
        catalog.command(signed)


def test_a_stopped_model_is_not_waited_for(client: Client, fake: FakeDeployment) -> None:
    client.query("tiny", images())
    command(fake, "stop")
    with pytest.raises(UnavailableError, match="stopped; its owner can serve it") as caught:
        client.query("tiny", images())
    assert caught.value.status == 503
    assert fake.clock.pauses == []
    command(fake, "serve")
    assert client.query("tiny", images()).shape == (5, 3)


def test_a_frozen_gateway_costs_the_timeout_once(connect: Connect, fake: FakeDeployment) -> None:
    seen = []

    def freeze(request: httpx.Request) -> None:
        if request.url.path.endswith("/infer"):
            seen.append(request.extensions["timeout"]["read"])
            fake.clock.passed += seen[-1]
            raise httpx.ReadTimeout("frozen")

    fake.before.append(freeze)
    with pytest.raises(UnavailableError, match=r"no answer .* within 7 s"):
        connect(timeout=7).query("tiny", images())
    assert seen == [7.0]


def test_a_gateway_that_trickles(connect: Connect, fake: FakeDeployment) -> None:
    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                fake.clock.passed += 1
                yield b" "

    fake.before.append(once(httpx.Response(200, stream=Trickle())))
    with pytest.raises(UnavailableError, match="within 7 s"):
        connect(timeout=7).query("tiny", images())


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_timeouts_that_make_no_sense(connect: Connect, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        connect(timeout=timeout)

"""``libmpc status``: what it shows of what a gateway answers, and its exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import libmpc.client
from libmpc.cli import status as command
from libmpc.client import AsyncClient, Client
from libmpc.client.status import Status, parse_status
from libmpc.errors import IntegrityError, ServiceError
from services.gateway.status import (
    GatewayBody,
    ListedModel,
    LoadBody,
    PartyBody,
    PoolBody,
    StatusBody,
    TokenBody,
    triple,
)
from tests.cli.run import Cli
from tests.client.fake import FakeDeployment


def body(*, ready: bool = True, load: bool = True) -> StatusBody:
    """What a gateway of this release answers."""
    pools = [PoolBody(model="mnist", batch=8, ready=3), PoolBody(model="mnist", batch=1, ready=2)]
    parties = [
        PartyBody(
            party=party,
            up=True,
            ready=True,
            reason="",
            version="1.2.3",
            epoch="89abcdef",
            uptime_seconds=7300,
            clock_ms=1_000,
            pools=pools[party:] if party < 2 else [],
        )
        for party in range(3)
    ]
    if not ready:
        parties[2] = PartyBody(party=2, up=False, ready=False, reason="not reachable", pools=[])
    model = ListedModel(
        name="mnist", model="ab" * 32, state="serving", ready=ready, num_requests=1000, served=17
    )
    return StatusBody(
        ready=ready,
        reason="" if ready else "party 2 is not reachable",
        deployment="00" * 16,
        gateway=GatewayBody(
            version="1.2.4",
            uptime_seconds=90,
            clock_ms=1_000,
            load=LoadBody(waiting=4, batches=2, queries={"answered": 1234, "limited": 0})
            if load
            else None,
        ),
        token=TokenBody(
            role="client",
            expires_ms=9_000,
            models=["mnist"],
            images=50,
            images_per_minute=None,
            requests_per_minute=None,
            used={"mnist": 7},
        ),
        triples=[triple(0, parties)],
        models=[model],
    )


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDeployment]:
    fake = FakeDeployment(tmp_path / "run")
    connected = partial(Client, transport=fake.transport(), clock=fake.clock)
    monkeypatch.setattr(libmpc.client, "Client", connected)
    monkeypatch.setenv("LIBMPC_DEPLOYMENT", str(fake.path))
    yield fake
    fake.close()


def says(fake: FakeDeployment, answer: Any) -> None:
    def hook(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v2/status":
            return None
        return httpx.Response(200, json=answer)

    fake.before.append(hook)


def test_a_table_for_people(cli: Cli, fake: FakeDeployment) -> None:
    says(fake, body().model_dump())
    result = cli("status")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "ready"
    assert "gateway 1.2.4, up 90 s; waiting: 4, batches under way: 2" in lines[1]
    assert "1,234 answered" in lines[1]
    assert "limited" not in lines[1]
    assert lines[4].split() == ["0", "0", "ready", "1.2.3", "2.0", "h", "89abcdef"]
    # Both evaluators must have a bundle, or it is none.
    assert " ".join(lines[-1].split()) == "mnist serving yes 17 of 1,000 1: 2, 8: 0"


def test_not_ready_is_exit_code_1(cli: Cli, fake: FakeDeployment) -> None:
    says(fake, body(ready=False, load=False).model_dump())
    result = cli("status")
    assert result.code == 1
    assert result.out.startswith("not ready: party 2 is not reachable\ngateway 1.2.4, up 90 s\n")
    assert "down" in result.out


def test_json(cli: Cli, fake: FakeDeployment) -> None:
    says(fake, body().model_dump())
    found = cli("status", "--json").json()
    assert (found["ready"], found["gateway"]["waiting"]) == (True, 4)
    assert found["triples"][0]["parties"][1]["uptime"] == 7300
    assert (found["token"]["expires"], found["token"]["used"]) == (9.0, {"mnist": 7})
    assert found["pools"] == {"mnist": {"1": 2, "8": 0}}


def test_an_older_gateway_is_named(cli: Cli, fake: FakeDeployment) -> None:
    assert "older than 'libmpc status'" in cli("status").error()


def test_a_newer_gateway_may_say_more_and_a_broken_one_nothing_wrong() -> None:
    document = body().model_dump()
    document["mood"] = document["triples"][0]["mood"] = "fine"
    assert parse_status(json.dumps(document).encode()).pools("mnist") == {1: 2, 8: 0}
    document["reason"] = "\x1b[2Jgone"
    assert parse_status(json.dumps(document).encode()).reason == " [2Jgone"
    for path, wrong in (
        (("ready",), 1),
        (("gateway",), None),
        (("gateway", "uptime_seconds"), True),
        (("gateway", "load"), {"waiting": "4", "batches": 2}),
        (("gateway", "load"), {"waiting": 4, "batches": 2, "queries": [1]}),
        (("token",), None),
        (("token", "images"), "many"),
        (("token", "models"), 7),
        (("token", "used"), {"mnist": None}),
        (("triples",), {}),
        (("triples", 0), None),
        (("triples", 0, "parties"), []),
        (("triples", 0, "parties", 0, "up"), "yes"),
        (("triples", 0, "parties", 0, "pools"), [1]),
        (("models",), None),
    ):
        document = body().model_dump()
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        with pytest.raises(IntegrityError):
            parse_status(json.dumps(document).encode())


def test_the_asynchronous_client_asks_the_same(fake: FakeDeployment) -> None:
    says(fake, body().model_dump())

    async def ask() -> Status:
        async with AsyncClient(fake.path, transport=fake.transport(), clock=fake.clock) as client:
            return await client.status()

    found = asyncio.run(ask())
    with libmpc.client.Client(fake.path) as client:
        assert client.status() == found
    assert found.pools("mnist") == {1: 2, 8: 0}


def test_watching_goes_on_where_the_gateway_does_not_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter([parse_status(body().model_dump_json().encode()), None, None])

    def ask() -> Any:
        if (found := next(answers)) is None:
            raise ServiceError("the gateway is not reachable")
        return found

    command._watch(ask, iter([None, None]), True)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["ready"], second["ready"]) == (True, False)
    assert "not reachable" in second["reason"]
    command._watch(ask, iter([None]), False)
    assert "not ready: the gateway is not reachable" in capsys.readouterr().out


def test_on_a_terminal_the_screen_is_redrawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    found = parse_status(body().model_dump_json().encode())
    command._watch(lambda: found, iter([None, None]), False)
    out = capsys.readouterr().out
    assert out.count("Ctrl-C ends it") == 2
    assert "\x1b[?1049h" in out  # a screen of its own, which leaves the terminal as it was
    assert "mnist" in out


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "5 s"), (600, "10 min"), (9000, "2.5 h"), (864_000, "10 d")]
)
def test_ages(seconds: float, shown: str) -> None:
    assert command.age(seconds) == shown

"""Everything about models but queries: push, list, serve, stop, delete, keys, metadata."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest

from libmpc.party.framing import split
from libmpc.party.messages import Commit, Kind, Refusal
from libmpc.wire.command import Command
from libmpc.wire.headers import PushHeader
from libmpc.wire.signed import Signed
from tests.gateway.fakes import MODEL, FakeParty, key, signed, state
from tests.gateway.rig import Rig, rig, run, until
from tests.link.support import DEPLOYMENT
from tests.manual_clock import settle

ENVELOPES = (b"zero" * 1000, b"one" * 700_000, b"two")
HEADER = PushHeader(
    model="77" * 32, number="88" * 16, expires_ms=1_000_300_000, key_ids=("00" * 8,) * 3
)


def long(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


PUSH = long(HEADER.encode()) + b"".join(map(long, ENVELOPES))


async def push(r: Rig, body: bytes = PUSH, name: str = "fresh") -> httpx.Response:
    return await r.client.put(f"/v2/models/{name}", content=body)


def stored(party: FakeParty) -> bool:
    """Whether a party has answered PREPARE, and the push's own link is gone."""
    return bool(party.payloads(Kind.PREPARE)) and len(party.links) == 1


def command(action: str = "stop", **changes: object) -> bytes:
    values: dict[str, object] = {
        "deployment": DEPLOYMENT.hex(),
        "name": "digits",
        "model": MODEL,
        "action": action,
        "command_id": "99" * 16,
        "issued_ms": 1,
        "expires_ms": 1000,
    }
    return signed(Command.model_validate(values | changes).encode()).encode()


def test_push_reaches_each_party_sealed_as_it_came() -> None:
    async def work() -> None:
        async with rig() as r:
            response = await push(r)
            assert response.status_code == 201
            assert response.json() == {"name": "fresh", "model": HEADER.model}
            for party, envelope in zip(r.parties, ENVELOPES, strict=True):
                (payload,) = party.payloads(Kind.PREPARE)
                head, data = split(payload)
                assert PushHeader.parse(head) == HEADER
                assert data == envelope
                (payload,) = party.payloads(Kind.COMMIT)
                commit = Commit.parse(payload)
                assert commit.model == HEADER.model
                assert [json.loads(receipt.document)["party"] for receipt in commit.receipts] == [
                    0,
                    1,
                    2,
                ]
                assert len(party.links) == 1  # the push's own link is gone

    run(work())


@pytest.mark.parametrize("party", [0, 1, 2])
def test_a_push_that_one_party_refuses_is_committed_nowhere(party: int) -> None:
    async def work() -> None:
        async with rig() as r:
            refusal = Refusal(status=409, error="the name 'fresh' is in use")
            r.parties[party].refusals[Kind.PREPARE] = refusal
            response = await push(r)
            assert response.status_code == 409
            assert response.json()["error"] == "the name 'fresh' is in use"
            assert not any(each.payloads(Kind.COMMIT) for each in r.parties)

    run(work())


@pytest.mark.parametrize("party", [0, 1, 2])
def test_a_party_that_is_lost_between_the_steps(party: int) -> None:
    async def work() -> None:
        async with rig() as r:
            kinds = []

            def die(kind: Kind) -> None:
                kinds.append(kind)
                if kind == Kind.COMMIT and kinds.count(kind) == 1:
                    r.parties[party].frozen = True

            r.parties[party].on_request = die
            pushing = asyncio.ensure_future(push(r))
            await r.parties[party].wait_for(Kind.COMMIT)
            await r.lose(party)
            r.parties[party].down = r.parties[party].frozen = False
            while not r.gateway.router.first.links[party].up:
                await r.clock.advance(1.0)
            assert (await pushing).status_code == 201
            assert kinds.count(Kind.COMMIT) == 2
            for each in r.parties:
                assert len(set(each.payloads(Kind.COMMIT))) == 1

    run(work())


def test_a_party_that_does_not_come_back_is_named() -> None:
    async def work() -> None:
        async with rig(commit_timeout=10) as r:
            r.parties[1].on_request = lambda kind: setattr(
                r.parties[1], "frozen", r.parties[1].frozen or kind == Kind.COMMIT
            )
            pushing = asyncio.ensure_future(push(r))
            await r.parties[1].wait_for(Kind.COMMIT)
            await r.lose(1)
            await settle()
            assert not pushing.done()
            r.timers.advance(10)
            response = await pushing
            assert response.status_code == 503
            assert "party 1 is not reachable" in response.json()["error"]
            assert "Retry-After" in response.headers

    run(work())


def test_a_party_that_does_not_answer_a_push() -> None:
    async def work() -> None:
        async with rig(push_timeout=60) as r:
            r.parties[2].frozen = True
            pushing = asyncio.ensure_future(push(r))
            await r.parties[2].wait_for(Kind.PREPARE)
            await until(lambda: all(stored(party) for party in r.parties[:2]))
            r.timers.advance(60)
            response = await pushing
            assert response.status_code == 503
            assert "party 2 did not answer within 60 s" in response.json()["error"]

    run(work())


def test_a_push_without_all_parties_is_not_begun() -> None:
    async def work() -> None:
        async with rig() as r:
            await r.lose(2)
            response = await push(r)
            assert response.status_code == 503
            assert "party 2 is not reachable" in response.json()["error"]
            assert not any(party.payloads(Kind.PREPARE) for party in r.parties)

    run(work())


def test_a_refusal_stops_the_upload() -> None:
    async def work() -> None:
        async with rig() as r:
            r.parties[0].refusals[Kind.PREPARE] = Refusal(status=403, error="not yours")
            sent = 0

            async def slowly():  # type: ignore[no-untyped-def]  # noqa: ANN202
                nonlocal sent
                start = 4 + len(HEADER.encode()) + 4 + len(ENVELOPES[0])
                yield PUSH[:start]
                await until(lambda: stored(r.parties[0]))
                for place in range(start, len(PUSH), 1000):
                    sent += 1
                    yield PUSH[place : place + 1000]

            response = await r.client.put("/v2/models/fresh", content=slowly())
            assert response.status_code == 403
            assert sent < 20

    run(work())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        PUSH[:3],
        PUSH[:200],
        PUSH[:-1],
        PUSH + b"x",
        long(b"{}") + PUSH,
        b"\xff\xff\xff\xff" + PUSH,
        long(HEADER.encode()),
    ],
)
def test_malformed_pushes(body: bytes) -> None:
    async def work() -> None:
        async with rig() as r:
            response = await push(r, body)
            assert response.status_code == 400
            assert set(response.json()) == {"error", "request"}
            assert not any(party.payloads(Kind.COMMIT) for party in r.parties)
            assert (await push(r)).status_code == 201

    run(work())


def test_push_limit_does_not_trust_content_length() -> None:
    async def work() -> None:
        async with rig(max_push_bytes=1_000_000) as r:

            async def chunked():  # type: ignore[no-untyped-def]  # noqa: ANN202
                for place in range(0, len(PUSH), 10_000):
                    yield PUSH[place : place + 10_000]

            for content in (PUSH, chunked()):
                response = await r.client.put("/v2/models/fresh", content=content)
                assert response.status_code == 413
                assert response.headers["Connection"] == "close"

    run(work())


def test_a_receipt_for_something_else_is_no_receipt() -> None:
    async def work() -> None:
        async with rig() as r:
            other = HEADER.model_copy(update={"model": "66" * 32})
            r.parties[1]._answer = lambda kind, payload: signed(  # type: ignore[method-assign]
                json.dumps(
                    {
                        "version": 1,
                        "deployment": DEPLOYMENT.hex(),
                        "party": 1,
                        "model": other.model,
                    }
                ).encode()
            ).encode()
            response = await push(r)
            assert response.status_code == 422
            assert "party 1" in response.json()["error"]
            assert not any(party.payloads(Kind.COMMIT) for party in r.parties)

    run(work())


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/v2/models/digits/serve", "serve"),
        ("POST", "/v2/models/digits/stop", "stop"),
        ("POST", "/v2/models/digits/delete", "delete"),
        ("DELETE", "/v2/models/digits", "delete"),
    ],
)
def test_commands_go_to_all_three_as_signed(method: str, path: str, action: str) -> None:
    async def work() -> None:
        async with rig() as r:
            body = command(action)
            response = await r.client.request(method, path, content=body)
            assert response.status_code == 200
            assert response.json() == {"name": "digits", "model": MODEL, "action": action}
            for party in r.parties:
                (payload,) = party.payloads(Kind.COMMAND)
                assert Signed.parse(payload) == Signed.parse(body)

    run(work())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (signed(b"{}").encode(), 400),
        (command("serve"), 400),
        (command(name="other"), 400),
        (command(deployment="00" * 16), 409),
        (b" " * 70_000, 413),
    ],
)
def test_commands_that_are_refused_here(body: bytes, status: int) -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.client.post("/v2/models/digits/stop", content=body)
            assert response.status_code == status
            assert set(response.json()) == {"error", "request"}
            assert not any(party.payloads(Kind.COMMAND) for party in r.parties)

    run(work())


def test_commands_that_a_party_refuses_or_cannot_hear() -> None:
    async def work() -> None:
        async with rig() as r:
            url = "/v2/models/digits/stop"
            r.parties[2].refusals[Kind.COMMAND] = Refusal(status=403, error="not yours")
            assert (await r.client.post(url, content=command())).status_code == 403
            await r.lose(1)
            response = await r.client.post(url, content=command())
            assert response.status_code == 503
            assert "party 1 is not reachable" in response.json()["error"]
            assert len(r.parties[0].payloads(Kind.COMMAND)) == 1

    run(work())


def test_list() -> None:
    async def work() -> None:
        async with rig() as r:
            r.parties[0].models.append(state(0, "alone", "11" * 32))
            r.parties[1].models[0] = state(1, served=5, num_requests=9)
            r.parties[0].models[0] = state(0, served=4, num_requests=9)
            models = (await r.client.get("/v2/models")).json()["models"]
            assert [model["name"] for model in models] == ["alone", "digits"]
            assert (models[0]["state"], models[0]["ready"]) == ("incomplete", False)
            assert models[1] == {
                "name": "digits",
                "model": MODEL,
                "state": "serving",
                "ready": True,
                "num_requests": 9,
                "served": 5,
            }
            await r.lose(0)
            models = (await r.client.get("/v2/models")).json()["models"]
            assert [(model["name"], model["ready"]) for model in models] == [("digits", False)]
            for party in (1, 2):
                await r.lose(party)
            response = await r.client.get("/v2/models")
            assert response.status_code == 503
            assert "parties 0 and 1 and 2" in response.json()["error"]

    run(work())


def test_metadata() -> None:
    async def work() -> None:
        async with rig() as r:
            document = (await r.client.get("/v2/models/digits")).json()
            assert [tensor["name"] for tensor in document["inputs"]] == ["share0", "share1"]
            assert [tensor["name"] for tensor in document["outputs"]] == ["logits0", "logits1"]
            assert document["platform"] == "libmpc"
            sealed = document["libmpc"]
            decode = base64.b64decode
            descriptors = [decode(d["document"]) for d in sealed["descriptor"]]
            assert descriptors == [b"descriptor 0", b"descriptor 1"]
            keys = [decode(k["document"]) for k in sealed["keys"]]
            assert keys == [key(party).document for party in range(3)]
            assert (sealed["model"], sealed["state"]) == (MODEL, "serving")
            listed = (await r.client.get("/v2/keys")).json()
            assert listed == {"triple": 0, "keys": sealed["keys"], "more": []}
            assert (await r.client.get("/v2/models/letters")).status_code == 404
            await r.lose(1)
            response = await r.client.get("/v2/models/digits")
            assert response.status_code == 503
            assert "party 1" in response.json()["error"]

    run(work())


def test_half_of_the_evaluators_word_is_not_given() -> None:
    """A client would take it for a forgery."""

    async def work() -> None:
        async with rig() as r:
            r.parties[1].models = []  # a push that it has not committed yet
            response = await r.client.get("/v2/models/digits")
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
            r.parties[1].refusals[Kind.MODELS] = Refusal(status=503, error="busy")
            response = await r.client.get("/v2/models/digits")
            assert response.status_code == 503
            assert "party 1" in response.json()["error"]

    run(work())


def test_a_name_that_is_forgotten_while_it_is_looked_up() -> None:
    """As when a replacement ends in the moment in which a query asks what the name stands for."""

    async def work() -> None:
        async with rig() as r:
            catalogue = r.gateway.router.first.catalogue
            check = asyncio.ensure_future(catalogue.check("digits", MODEL))
            await asyncio.sleep(0)
            assert catalogue._refreshing is not None
            catalogue._refreshing.add_done_callback(lambda task: catalogue.forget("digits"))
            await check

    run(work())


def test_model_readiness() -> None:
    async def work() -> None:
        async with rig() as r:
            url = "/v2/models/digits/ready"
            response = await r.client.get(url)
            assert (response.status_code, response.json()) == (
                200,
                {"name": "digits", "ready": True},
            )
            r.parties[1].models = [state(1, state="stopped")]
            response = await r.client.get(url)
            assert (response.status_code, response.json()["ready"]) == (503, False)
            assert (await r.client.get("/v2/models/letters/ready")).status_code == 404

    run(work())

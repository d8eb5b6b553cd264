"""A stolen gateway and what clients are told: descriptors, keys, lists, limits, shapes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.errors import ConflictError, IntegrityError, LibmpcError
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.signing import SigningKey
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.keys import PartyKey
from libmpc.wire.signed import Signed
from tests.malicious.stolen import (
    OTHER_PLAN,
    OTHER_WEIGHTS,
    PLAN,
    WEIGHTS,
    Stolen,
    attack,
    inputs,
    refused,
    right,
    right_or_refused,
)
from tests.party.triple import perceptron, triple

Words = dict[str, Any]


async def words(it: Stolen, name: str = "mnist") -> Words:
    """What the gateway truthfully says of a model."""
    token = it.client()._session.connection.token
    transport = httpx.ASGITransport(app=it.app)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as client:
        found: Words = (await client.get(f"/v2/models/{name}")).json()
    return found


def tell(it: Stolen, change: Callable[[Words], None]) -> list[int]:
    """Have all clients hear something else of "mnist"; counts how often they asked."""
    asked: list[int] = []

    def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/models/mnist"):
            return response
        asked.append(1)
        document = response.json()
        change(document)
        return httpx.Response(200, json=document, request=request)

    it.hands.on_answer = lie
    return asked


def queries_sent(it: Stolen) -> int:
    """How many queries the gateway has been trusted with."""
    return sum(b'"libmpc_header"' in piece for piece in it.hands.seen)


def test_another_models_genuine_descriptor(tmp_path: Path) -> None:
    """Same shapes, same owner, both evaluators' signatures: but it is for another name."""

    async def work(it: Stolen) -> None:
        await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, "other")
        other = (await words(it, "other"))["libmpc"]["descriptor"]
        tell(it, lambda d: d["libmpc"].update(descriptor=other))
        refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0
        await it.still_right()

    attack(work, tmp_path)


def test_the_genuine_descriptor_of_a_model_that_was_replaced(tmp_path: Path) -> None:
    """A client seals for exactly the model that it was told of; nobody else answers for it."""

    async def work(it: Stolen) -> None:
        old = (await words(it))["libmpc"]["descriptor"]
        new = await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, replace=it.model, num_requests=9)
        tell(it, lambda d: d["libmpc"].update(descriptor=old, model=it.model))
        refused(await it.query(), ConflictError)
        # Neither with the gateway's own check out of the way.
        it.gateway.router.first.catalogue._digests = {"mnist": it.model}
        refused(await it.query(), ConflictError)
        for party in (0, 1):
            states = {s.model: s.served for s in (await it.own.models(party)).models}
            assert states == {new: 0}

    attack(work, tmp_path)


def test_the_genuine_descriptor_of_a_deleted_model(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        true = await words(it)
        await it.own.command(it.model, "delete")

        def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path.endswith("/models/mnist"):
                return httpx.Response(200, json=true, request=request)
            return response

        it.hands.on_answer = lie
        it.gateway.router.first.catalogue._digests = {"mnist": it.model}
        refused(await it.query(), 404, 409)

    attack(work, tmp_path)


def test_an_old_and_a_new_descriptor(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        old = (await words(it))["libmpc"]["descriptor"]
        await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, replace=it.model)
        tell(it, lambda d: d["libmpc"].update(descriptor=[old[0], d["libmpc"]["descriptor"][1]]))
        refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0

    attack(work, tmp_path)


def test_another_deployments_genuine_descriptor_and_keys(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        async with triple(tmp_path / "elsewhere") as elsewhere:
            there = await elsewhere.gateway()
            await there.push(PLAN, WEIGHTS)
            states = [(await there.models(party)).models[0] for party in (0, 1)]
            descriptors = [s.descriptor.to_json() for s in states if s.descriptor is not None]
            keys = [Signed.parse(await there.ask(p, 33)).to_json() for p in range(3)]
            for change in (
                {"descriptor": descriptors},
                {"keys": keys},
                {"descriptor": descriptors, "keys": keys},
            ):
                tell(it, lambda d, change=change: d["libmpc"].update(change))  # type: ignore[misc]
                refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0
        await it.still_right()

    attack(work, tmp_path / "here")


@pytest.mark.parametrize(
    "change",
    [
        {"input_range": [-1000.0, 1000.0]},
        {"input_shape": [3, 4]},
        {"output_shape": [1]},
        {"model": "00" * 32},
        {"name": "other"},
        {"final_activation": "argmax"},
    ],
    ids=str,
)
def test_a_descriptor_is_edited(tmp_path: Path, change: dict[str, object]) -> None:
    async def work(it: Stolen) -> None:
        def edit(document: Words) -> None:
            for signed in document["libmpc"]["descriptor"]:
                one = Signed.from_json(dict(signed))
                fields = {**json.loads(one.document), **change}
                changed = one.model_copy(update={"document": json.dumps(fields).encode()})
                signed.update(changed.to_json())

        tell(it, edit)
        refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0
        await it.still_right()

    attack(work, tmp_path)


def test_a_descriptor_is_signed_by_one_evaluator_only(tmp_path: Path) -> None:
    """Even a gateway that has party 0's own signature cannot say what party 1 computes."""

    async def work(it: Stolen) -> None:
        thief = SigningKey.generate()
        party0 = PartyIdentity.load(tmp_path / "party0" / "keys").signing

        def edit(document: Words) -> None:
            described = document["libmpc"]["descriptor"]
            parsed = Descriptor.parse(Signed.from_json(described[0]).document)
            wide = parsed.model_copy(update={"input_range": (-1000.0, 1000.0)})
            described[:] = [k.sign_document(wide).to_json() for k in (party0, thief)]

        tell(it, edit)
        refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0

    attack(work, tmp_path)


def _own_key(signing: SigningKey, deployment: bytes, party: int, now: float) -> Signed:
    public = X25519PrivateKey.generate().public_key().public_bytes_raw()
    start = int(now * 1000)
    return signing.sign_document(
        PartyKey(
            deployment=deployment.hex(),
            party=party,
            key_id="ab" * 8,
            public_key=public.hex(),
            not_before_ms=start,
            not_after_ms=start + 3_600_000,
        )
    )


@pytest.mark.parametrize("party", [0, 1])
def test_a_partys_key_is_exchanged_for_the_attackers(tmp_path: Path, party: int) -> None:
    async def work(it: Stolen) -> None:
        deployment, now = it.parties.deployment.id, it.parties.clock.now()
        mine = _own_key(SigningKey.generate(), deployment, party, now)
        tell(it, lambda d: d["libmpc"]["keys"].__setitem__(party, mine.to_json()))
        refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0
        await it.still_right()

    attack(work, tmp_path)


def test_one_partys_key_stands_in_both_places(tmp_path: Path) -> None:
    """Else party 0 would be sent both halves."""

    async def work(it: Stolen) -> None:
        for order in ((0, 0, 2), (1, 1, 2), (1, 0, 2), (2, 1, 0)):
            tell(
                it, lambda d, o=order: d["libmpc"].update(keys=[d["libmpc"]["keys"][i] for i in o])
            )  # type: ignore[misc]
            refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0
        await it.still_right()

    attack(work, tmp_path)


def test_a_partys_key_has_expired(tmp_path: Path) -> None:
    """Genuine, kept from long ago."""

    async def work(it: Stolen) -> None:
        signing = PartyIdentity.load(tmp_path / "party1" / "keys").signing
        then = it.parties.clock.now() - 7200
        old = _own_key(signing, it.parties.deployment.id, 1, then)
        tell(it, lambda d: d["libmpc"]["keys"].__setitem__(1, old.to_json()))
        refused(await it.query(), IntegrityError)
        assert queries_sent(it) == 0

    attack(work, tmp_path)


def test_a_partys_key_from_before_its_restart(tmp_path: Path) -> None:
    """Genuine and not expired, but nobody has its private half any more."""

    async def work(it: Stolen) -> None:
        old = (await words(it))["libmpc"]["keys"]
        await it.parties.stop(1)
        it.parties.start(1)
        await it.parties.ready()
        for link in it.gateway.router.first.links:
            await link.wait_up()
        asked = tell(it, lambda d: d["libmpc"].update(keys=old))
        async with it.client(retries=3) as client:
            with pytest.raises(ConflictError, match="old key"):
                await client.query("mnist", inputs())
        assert 1 < len(asked) <= 4  # it has tried, and not for ever
        it.own = await it.parties.gateway()
        await it.still_right()

    attack(work, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": [{"name": "share0", "datatype": "BYTES", "shape": [99]}]},
        {"libmpc.num_requests": 0},
        {"libmpc.num_requests": 10**9},
        {"libmpc.served": 10**9},
        {"libmpc.model": "00" * 32},
        {"libmpc.state": "serving for ever"},
        {"platform": "another", "versions": ["9"]},
    ],
    ids=str,
)
def test_lies_beside_the_signed_words_change_no_answer(
    tmp_path: Path, change: dict[str, object]
) -> None:
    async def work(it: Stolen) -> None:
        def edit(document: Words) -> None:
            for place, value in change.items():
                where, _, field = place.rpartition(".")
                (document[where] if where else document)[field] = value

        tell(it, edit)
        right_or_refused(await it.query(), inputs())
        await it.still_right()

    attack(work, tmp_path)


def test_a_limit_is_the_owners_whatever_the_gateway_says(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        tell(it, lambda d: d["libmpc"].update(num_requests=None, served=0))
        for seed in range(3):
            right(await it.query(inputs(1, seed)), inputs(1, seed))
        for _ in range(3):
            refused(await it.query(), 429)
        assert await it.served() == [3, 3]

    attack(work, tmp_path, num_requests=3)


def test_the_list_of_models_is_invented(tmp_path: Path) -> None:
    """Nobody signs it: a client may see nonsense there, and asks no model by it."""

    async def work(it: Stolen) -> None:
        def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if not request.url.path.endswith("/v2/models"):
                return response
            model = {"name": "mnist", "model": "00" * 32, "state": "stopped", "ready": True}
            document = {"models": [{**model, "num_requests": None, "served": 7}]}
            return httpx.Response(200, json=document, request=request)

        it.hands.on_answer = lie
        right(await it.query(), inputs())
        await it.still_right()

    attack(work, tmp_path)


def test_every_answer_is_an_error_or_nonsense(tmp_path: Path) -> None:
    """Denial of service: the client has a typed error at once, and waits for nothing."""

    async def work(it: Stolen) -> None:
        answers = [httpx.Response(s, json={"error": "no"}) for s in (400, 403, 404, 409, 429, 503)]
        answers += [httpx.Response(200, content=c) for c in (b"", b"{", b"[]", b"\xff" * 99)]
        for answer in answers:
            content, status = answer.content, answer.status_code
            it.hands.on_answer = lambda request, _, c=content, s=status: httpx.Response(  # type: ignore[misc]
                s, content=c, request=request
            )
            async with asyncio.timeout(20):
                refused(await it.query())
        await it.still_right()

    attack(work, tmp_path)


def test_a_client_that_pinned_a_model_never_gets_another(tmp_path: Path) -> None:
    """Many batches of one call: a model that is exchanged in between ends the call."""

    async def work(it: Stolen) -> None:
        x = np.concatenate([inputs(1, seed) for seed in range(40)])
        async with it.client(retries=2) as client:
            call = asyncio.ensure_future(client.query_many("mnist", x, batch_size=1, in_flight=1))
            while (await it.served())[0] < 5:
                pass
            plan, weights = perceptron(seed=11)
            await it.own.push(plan, weights, replace=it.model, num_requests=1000)
            with pytest.raises(LibmpcError):
                await call

    attack(work, tmp_path)

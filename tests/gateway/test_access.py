"""Which token opens what: roles on every route, lists of models, expiry, revocation, and limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from libmpc.access import ROLES, AccessStore, StoreError, make_grant
from libmpc.access.opening import Where
from libmpc.identity.token import is_token, token_id
from tests.gateway.fakes import MODEL
from tests.gateway.rig import TOKEN, Rig, header, rig, run, until

#: who may, at least
NEEDED = {
    ("GET", "/openapi.json"): "client",
    ("GET", "/v2"): "client",
    ("GET", "/v2/keys"): "client",
    ("GET", "/v2/models"): "client",
    ("GET", "/v2/status"): "client",
    ("GET", "/v2/models/{name}"): "client",
    ("GET", "/v2/models/{name}/ready"): "client",
    ("POST", "/v2/models/{name}/infer"): "client",
    ("PUT", "/v2/models/{name}"): "owner",
    ("DELETE", "/v2/models/{name}"): "owner",
    ("POST", "/v2/models/{name}/serve"): "owner",
    ("POST", "/v2/models/{name}/stop"): "owner",
    ("POST", "/v2/models/{name}/delete"): "owner",
    ("GET", "/v2/tokens"): "admin",
    ("POST", "/v2/tokens"): "admin",
    ("DELETE", "/v2/tokens/{token}"): "admin",
}
HEALTH = {("GET", "/v2/health/live"), ("GET", "/v2/health/ready")}
SOME = {"name": "digits", "token": "0" * 12}


def walk(routes: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """All that an application answers, documented or not: method and path."""
    for route in routes:
        # FastAPI puts an included router's routes into the list, or the router itself.
        if (router := getattr(route, "original_router", None)) is not None:
            yield from walk(router.routes)
        else:
            assert isinstance(route, Route), "something else than a route: see who guards it"
            yield from ((method, route.path) for method in route.methods or () if method != "HEAD")


def test_every_route_wants_its_role_and_only_health_is_open() -> None:
    async def work() -> None:
        async with rig() as r:
            assert set(walk(r.app.routes)) == NEEDED.keys() | HEALTH
            tokens = {role: r.token(role) for role in ROLES}
            strangers = ["", "Bearer", "Bearer wrong", tokens["admin"], TOKEN]
            strangers += [f"Basic {token}" for token in (tokens["admin"], TOKEN)]
            for (method, path), needed in NEEDED.items():
                url = path.format(**SOME)
                async with r.bearing("nonsense") as stranger:
                    for authorization in strangers:
                        headers = {"Authorization": authorization}
                        answer = await stranger.client.request(method, url, headers=headers)
                        assert answer.status_code == 401, (method, path)
                        assert set(answer.json()) == {"error", "request"}
                        assert answer.headers["WWW-Authenticate"] == "Bearer"
                for role in ROLES:
                    async with r.bearing(tokens[role]) as client:
                        answer = await client.client.request(method, url)
                        refused = ROLES.index(role) < ROLES.index(needed)
                        assert (answer.status_code == 403) == refused, (method, path, role)
                        assert answer.status_code != 401
                        if refused:
                            assert needed in answer.json()["error"]
            for method, path in HEALTH:
                async with r.bearing("nonsense") as stranger:
                    assert (await stranger.client.request(method, path)).status_code == 200

    run(work())


def test_the_token_of_gateway_yaml_is_an_owners() -> None:
    """As before there were roles: it does all that it did, and makes no tokens."""

    async def work() -> None:
        async with rig() as r:
            for (method, path), needed in NEEDED.items():
                answer = await r.client.request(method, path.format(**SOME))
                assert (answer.status_code == 403) == (needed == "admin")
            assert (await r.infer()).status_code == 200
        async with rig(token_sha256=None) as r:
            assert (await r.infer()).status_code == 401
            async with r.bearing(r.token("client")) as client:
                assert (await client.client.get("/v2/models")).status_code == 200

    run(work())


@pytest.mark.parametrize("change", ["another secret", "another id", "shorter", "longer"])
def test_a_token_that_is_almost_right(change: str) -> None:
    async def work() -> None:
        async with rig() as r:
            token, other = r.token("client"), r.token("client")
            wrong = {
                "another secret": token[:20] + other[20:],
                "another id": other[:19] + token[19:],
                "shorter": token[:-1],
                "longer": token + "x",
            }[change]
            for presented, status in ((token, 200), (wrong, 401)):
                async with r.bearing(presented) as client:
                    assert (await client.client.get("/v2")).status_code == status

    run(work())


def test_a_client_sees_its_models_and_no_others() -> None:
    async def work() -> None:
        async with rig() as r:
            one, none = r.token("client", models=("digits",)), r.token("client", models=("else",))
            async with r.bearing(one) as client:
                listed = (await client.client.get("/v2/models")).json()["models"]
                assert [model["name"] for model in listed] == ["digits"]
                assert (await client.client.get("/v2/models/digits")).status_code == 200
                assert (await client.infer()).status_code == 200
            async with r.bearing(none) as client:
                assert (await client.client.get("/v2/models")).json() == {"models": []}
                for path in ("/v2/models/digits", "/v2/models/digits/ready"):
                    hidden = await client.client.get(path)
                    missing = await client.client.get(path.replace("digits", "nothing"))
                    assert hidden.status_code == missing.status_code == 404
                    # Nothing tells a model that is hidden from one that is not there.
                    assert (
                        hidden.json()["error"].replace("digits", "nothing")
                        == (missing.json()["error"])
                    )
                before = len(r.parties[0].batches)
                assert (await client.infer()).status_code == 404
                # Nor does a name that it may see lead to a model that it may not.
                answer = await client.infer("else", query=header(model=MODEL))
                assert answer.status_code == 404
                assert len(r.parties[0].batches) == before

    run(work())


def test_an_expired_token_says_so_to_its_holder_only() -> None:
    async def work() -> None:
        async with rig() as r:
            token = r.token("client", expires_ms=int(r.clock.now() * 1000) + 60_000)
            async with r.bearing(token) as client, r.bearing(token[:-1] + "!") as thief:
                assert (await client.client.get("/v2")).status_code == 200
                await r.clock.advance(59.9)
                assert (await client.client.get("/v2")).status_code == 200
                await r.clock.advance(0.1)
                answer = await client.client.get("/v2")
                assert answer.status_code == 401
                assert "expired" in answer.json()["error"]
                assert "expired" not in (await thief.client.get("/v2")).json()["error"]

    run(work())


def test_tokens_are_made_listed_and_revoked_over_http(
    where: Where, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = []

    async def work() -> None:
        async with kept_in(where) as r, r.bearing(r.token("admin", "boss")) as admin:
            await r.gateway.access.refresh()
            token, grant = make_grant("clinic-a", "client", 1, models=["digits"], images=9)
            secrets.extend((token.get_secret_value(), grant.sha256))
            for _ in range(2):  # the answer may have been lost
                made = await admin.client.post("/v2/tokens", content=grant.encode())
                assert made.status_code == 201
                assert "sha256" not in made.json()
            other = grant.model_copy(update={"name": "clinic-b"})
            refused = await admin.client.post("/v2/tokens", content=other.encode())
            assert refused.status_code == 409
            async with r.bearing(token.get_secret_value()) as client:
                assert (await client.infer()).status_code == 200
                listed = (await admin.client.get("/v2/tokens")).json()["tokens"]
                assert [one["name"] for one in listed] == ["boss", "clinic-a"]
                assert listed[1]["used"] == {"digits": 1}
                assert grant.sha256 not in json.dumps(listed)
                gone = await admin.client.delete(f"/v2/tokens/{grant.id}")
                assert gone.json() == {"id": grant.id}
                # From the very next request on.
                assert (await client.infer()).status_code == 401
            assert (await admin.client.delete(f"/v2/tokens/{grant.id}")).status_code == 404

    run(work())
    assert "was made by" in caplog.text
    assert "was revoked by" in caplog.text
    assert not any(secret in caplog.text for secret in secrets)


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "root"},
        {"sha256": "0" * 63},
        {"id": "../../../etc"},
        {"name": "Two Words"},
        {"images": 0},
        {"images": True},
        {"images_per_minute": 1.5},
        {"models": []},
        {"models": ["UPPER"]},
        {"models": ["digits"] * 65},
        {"models": ["digits"], "role": "owner"},
        {"expires_ms": 1},
        {"unknown": 1},
        {"version": 2},
    ],
)
def test_tokens_that_make_no_sense(changes: dict[str, Any]) -> None:
    async def work() -> None:
        async with rig() as r, r.bearing(r.token("admin")) as admin:
            _, grant = make_grant("x", "client", 1)
            document = json.loads(grant.encode()) | changes
            answer = await admin.client.post("/v2/tokens", json=document)
            assert answer.status_code == 400
            assert set(answer.json()) == {"error", "request"}
            del document["role"]
            assert (await admin.client.post("/v2/tokens", json=document)).status_code == 400
            long = await admin.client.post("/v2/tokens", content=b" " * 20_000)
            assert long.status_code == 413
            assert len((await admin.client.get("/v2/tokens")).json()["tokens"]) == 1

    run(work())


def test_another_process_revokes_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with rig(tmp_path) as r:
            token = r.token("client")
            async with r.bearing(token) as client:
                assert (await client.client.get("/v2")).status_code == 200
                other = AccessStore(tmp_path)  # as 'libmpc token --config' opens it
                assert other.remove(token_id(token) or "")
                assert (await client.client.get("/v2")).status_code == 401
                again, grant = make_grant("again", "client", 1)
                other.add(grant)
                other.close()
            async with r.bearing(again.get_secret_value()) as client:
                assert (await client.client.get("/v2")).status_code == 200

    run(work())


# ---- limits


def kept_in(where: Where) -> contextlib.AbstractAsyncContextManager[Rig]:
    """A gateway with its tokens in that database."""
    return rig(where.data, database=where.database, database_timeout=10)


async def counted(r: Rig, images: int) -> str:
    """A token with a quota, which the gateway knows of."""
    token = r.token("client", images=images)
    await r.gateway.access.refresh()
    return token


async def used(r: Rig) -> dict[str, int]:
    """What the only token that has a quota has used."""
    (found,) = (state.used for state in await r.gateway.access.states())
    return found


def test_images_a_minute_are_counted_not_queries() -> None:
    async def work() -> None:
        async with rig() as r:
            async with r.bearing(r.token("client", images_per_minute=60)) as client:
                assert (await client.infer(query=header(shape=(50, 4)))).status_code == 200
                refused = await client.infer(query=header(shape=(20, 4)))
                assert refused.status_code == 429
                assert refused.headers["Retry-After"] == "10"  # one a second comes back
                assert "60 images a minute" in refused.json()["error"]
                assert (await client.infer(query=header(shape=(10, 4)))).status_code == 200
                r.timers.advance(9.5)
                assert (await client.infer(query=header(shape=(10, 4)))).status_code == 429
                r.timers.advance(0.5)
                assert (await client.infer(query=header(shape=(10, 4)))).status_code == 200
                never = await client.infer(query=header(shape=(61, 4)))
                assert never.status_code == 429
                assert "Retry-After" not in never.headers
            # Another token has a minute of its own.
            async with r.bearing(r.token("client", images_per_minute=60)) as client:
                answer = await client.infer(query=header(shape=(60, 4)))
                assert answer.status_code == 200

    run(work())


def test_requests_a_minute() -> None:
    async def work() -> None:
        async with rig() as r, r.bearing(r.token("client", requests_per_minute=3)) as client:
            for _ in range(3):
                assert (await client.infer(query=header(shape=(50, 4)))).status_code == 200
            refused = await client.infer()
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "20")
            assert (await client.client.get("/v2")).status_code == 200

    run(work())


def test_what_the_service_could_not_answer_costs_nothing() -> None:
    async def work() -> None:
        async with rig() as r:
            token = r.token("client", images=5, images_per_minute=5, requests_per_minute=1)
            async with r.bearing(token) as client:
                await r.lose(0)
                assert (await client.infer(query=header(shape=(5, 4)))).status_code == 503
                assert await used(r) == {}
                r.parties[0].down = False
                await r.clock.advance(5)
                await r.gateway.router.first.links[0].wait_up()
                assert (await client.infer(query=header(shape=(5, 4)))).status_code == 200
                assert await used(r) == {"digits": 5}

    run(work())


def test_a_quota_ends_for_good_and_says_what_is_left(where: Where) -> None:
    async def work() -> None:
        async with kept_in(where) as r, r.bearing(await counted(r, 10)) as client:
            assert (await client.infer(query=header(shape=(7, 4)))).status_code == 200
            refused = await client.infer(query=header(shape=(4, 4)))
            assert refused.status_code == 429
            assert "Retry-After" not in refused.headers
            assert "3 of 10 images" in refused.json()["error"]
            assert (await client.infer(query=header(shape=(3, 4)))).status_code == 200
            r.timers.advance(1e6)
            await r.gateway.access.refresh()
            assert (await client.infer()).status_code == 429

    run(work())


def test_queries_side_by_side_cannot_share_what_is_left(where: Where) -> None:
    async def work() -> None:
        async with kept_in(where) as r, r.bearing(await counted(r, 40)) as client:
            asked = [client.infer(query=header(shape=(7, 4))) for _ in range(20)]
            answers = await asyncio.gather(*asked)
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses == [200] * 5 + [429] * 15

    run(work())


def test_a_quota_survives_a_crash_and_none_is_given_away(where: Where) -> None:
    token = ""

    async def first() -> None:
        nonlocal token
        async with kept_in(where) as r:
            token = await counted(r, 1000)
            async with r.bearing(token) as client:
                for _ in range(3):
                    assert (await client.infer(query=header(shape=(100, 4)))).status_code == 200
                    # What a crash at this moment would leave: at least what was answered.
                    kept = where.open()
                    count = kept.usage(token_id(token) or "")["digits"]
                    kept.close()
                    (exact,) = (await used(r)).values()
                    assert exact <= count <= exact + (1000 - exact) // 7

    async def second(expected: int) -> None:
        async with kept_in(where) as r:
            assert await used(r) == {"digits": expected}
            async with r.bearing(token) as client:
                left = 1000 - expected
                answer = await client.infer(query=header(shape=(left + 1, 4)))
                assert answer.status_code == 429
                assert (await client.infer(query=header(shape=(left, 4)))).status_code == 200

    run(first())  # ends cleanly: what was set aside is given back
    run(second(300))
    store = where.open()
    assert store.usage(token_id(token) or "") == {"digits": 1000}
    store.close()


def test_a_full_disk_refuses_what_needs_counting_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*args: object) -> None:
        raise StoreError("database or disk is full")

    async def work() -> None:
        async with rig() as r:
            counted, free = r.token("client", images=10), r.token("client")
            monkeypatch.setattr(r.store.counts, "set_aside", full)
            async with r.bearing(counted) as client:
                for _ in range(3):
                    answer = await client.infer()
                    assert answer.status_code == 503
                    assert "disk" in answer.json()["error"]
                monkeypatch.undo()
                assert (await client.infer()).status_code == 200
            async with r.bearing(free) as client:
                monkeypatch.setattr(r.store.counts, "set_aside", full)
                assert (await client.infer()).status_code == 200

    run(work())


def test_tokens_that_cannot_be_read_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise StoreError("database disk image is malformed")

    async def work() -> None:
        async with rig() as r, r.bearing(r.token("admin")) as client:
            assert (await client.client.get("/v2")).status_code == 200
            monkeypatch.setattr(r.store, "changes", broken)
            for path in ("/v2", "/v2/tokens", "/v2/models"):
                assert (await client.client.get(path)).status_code == 503
            monkeypatch.undo()
            assert (await client.client.get("/v2")).status_code == 200

    run(work())


def test_a_client_that_goes_away_does_not_undo_its_count() -> None:
    async def work() -> None:
        async with rig() as r:
            token = r.token("client", images=10)
            for party in r.parties:
                party.holding = True
            async with r.bearing(token) as client:
                asked = asyncio.ensure_future(client.infer())
                await until(lambda: bool(r.parties[0].batches))
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
            assert await used(r) == {"digits": 1}

    run(work())


def test_hashes_are_compared_whole() -> None:
    token, grant = make_grant("x", "client", 1)
    assert is_token(token.get_secret_value(), grant.sha256)
    assert token.get_secret_value() not in repr(token) + repr(grant) + grant.encode().decode()
    assert grant.sha256 not in repr(grant)
    assert TOKEN not in repr(grant)

"""The application around the routes: who may enter, how errors look, what is documented."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from fastapi.routing import APIRoute

from services.gateway import inference
from services.gateway.app import make_app
from services.gateway.settings import GatewaySettings
from tests.gateway.rig import SHARES, TOKEN, rig, run, settings
from tests.link.support import DEPLOYMENT


def test_server_metadata() -> None:
    async def work() -> None:
        async with rig() as r:
            document = (await r.client.get("/v2")).json()
            assert document["name"] == "libmpc"
            assert document["deployment"] == DEPLOYMENT.hex()
            assert document["wire"] == "1.0"
            assert "binary_tensor_data" in document["extensions"]

    run(work())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/a/b", 404),
        ("GET", "/v2/models/%2e%2e%2f%2e%2e%2fetc", 404),
        ("GET", "/v2/models/../keys/nothing", 404),
        ("PATCH", "/v2/models/digits", 405),
        ("GET", "/v2/models/digits/infer", 405),
        ("PUT", "/v2/models/UPPER", 400),
        ("GET", "/v2/models/UPPER", 404),
    ],
)
def test_errors_have_one_form(method: str, path: str, status: int) -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.client.request(method, path)
            assert response.status_code == status
            assert response.headers["content-type"] == "application/json"
            assert set(response.json()) == {"error", "request"}
            if status == 405:
                assert response.headers["Allow"]

    run(work())


def test_the_unforeseen_is_a_plain_500(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError(f"something with {SHARES[0]!r} in it")

    async def work() -> None:
        async with rig() as r:
            monkeypatch.setattr(inference, "parse_infer", broken)
            response = await r.infer()
            assert response.status_code == 500
            assert response.json()["error"] == "an internal error; the gateway's log has more"

    run(work())
    assert "RuntimeError" in caplog.text
    assert "first envelope" not in caplog.text


def test_bodies_and_tokens_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def work() -> None:
        async with rig() as r:
            assert (await r.infer()).status_code == 200
            await r.client.post("/v2/models/digits/infer", content=b"garbage in a body")
            await r.lose(0)
            await r.clock.advance(1)
            await r.infer()

    run(work())
    assert "party 0 is not reachable" in caplog.text
    for secret in (SHARES[0].decode(), SHARES[1].decode(), "garbage", TOKEN):
        assert secret not in caplog.text


def test_the_openapi_document_says_what_every_route_does() -> None:
    async def work() -> None:
        async with rig() as r:
            api = make_app(r.gateway)
            for route in api.routes:
                if isinstance(route, APIRoute):
                    assert route.summary, route.path
            document = (await r.client.get("/openapi.json")).json()
            infer = document["paths"]["/v2/models/{name}/infer"]["post"]
            assert infer["security"]
            assert set(infer["requestBody"]["content"]) == {
                "application/json",
                "application/octet-stream",
            }
            assert {"400", "401", "404", "413", "429", "503"} <= set(infer["responses"])

    run(work())


def test_the_gateway_has_no_code_that_could_read_what_it_relays() -> None:
    forbidden = ["services.party", "numba", "libmpc.sealing.open", "libmpc.sealing.hpke_keys"]
    forbidden += [
        f"libmpc.{name}"
        for name in ("client", "graph", "prg", "protocol", "ring", "runtime", "shares")
    ]
    forbidden += [f"libmpc.party.{name}" for name in ("catalog", "node", "queries", "run", "store")]
    code = (
        "import sys, services.gateway.main\n"
        f"print([name for name in {forbidden!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_setting_is_documented() -> None:
    for name, field in GatewaySettings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    "changes",
    [
        {"token_sha256": "secret" * 10},
        {"batches": 9, "max_batches": 8},
        {"query_timeout": 400.0},
        {"batch_queries": 0},
        {"unknown": 1},
    ],
)
def test_settings_that_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        settings(**changes)
    assert "secretsecret" not in str(caught.value)

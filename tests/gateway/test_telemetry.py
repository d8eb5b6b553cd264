"""Logs and the internal port."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr
from starlette.routing import Route

from libmpc.errors import ConfigError
from libmpc.identity.token import token_sha256
from services.common.health import health_app
from services.common.telemetry import setup_logging


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines() -> None:
    stream = io.StringIO()
    setup_logging("party0", as_json=True, stream=stream)
    logging.getLogger("a.b").info("%s\nand more", "text")
    logging.getLogger("a.b").debug("not shown")
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "info",
        "logger": "a.b",
        "service": "party0",
        "message": "text\nand more",
    }


def test_text_lines() -> None:
    stream = io.StringIO()
    setup_logging("party0", level="warning", stream=stream)
    logging.getLogger("a.b").info("not shown")
    logging.getLogger("a.b").warning("shown")
    assert stream.getvalue().endswith("WARNING a.b: shown\n")
    assert len(stream.getvalue().splitlines()) == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="debug, info"):
        setup_logging("party0", level="loud")


def test_internal_port() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    reason = "party 1 is asleep"

    def now() -> str:
        return reason

    async def later() -> str:
        return reason

    async def work() -> None:
        nonlocal reason
        for ask in (now, later):
            app = health_app("a service", "1.2", ask, registry)
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                live = await client.get("/health/live")
                assert live.json() == {"live": True, "service": "a service", "version": "1.2"}
                reason = "party 1 is asleep"
                ready = await client.get("/health/ready")
                assert (ready.status_code, ready.json()["reason"]) == (503, reason)
                reason = ""
                assert (await client.get("/health/ready")).status_code == 200
                assert "things_total 1.0" in (await client.get("/metrics")).text
                assert (await client.get("/v2")).status_code == 404

    asyncio.run(work())


@pytest.mark.parametrize(
    ("token", "host", "presented", "status"),
    [
        (None, "127.0.0.1", "", 200),
        (None, "::1", "", 200),
        (None, "10.0.0.7", "", 401),
        (None, "testclient", "Bearer right", 401),
        ("right", "10.0.0.7", "Bearer right", 200),
        ("right", "10.0.0.7", "Bearer wrong", 401),
        ("right", "10.0.0.7", "Basic right", 401),
        ("right", "127.0.0.1", "", 401),
    ],
)
def test_of_the_internal_port_only_health_is_open(
    token: str | None, host: str, presented: str, status: int
) -> None:
    async def work() -> None:
        digest = None if token is None else SecretStr(token_sha256(token))
        app = health_app("a service", "1.2", lambda: "", CollectorRegistry(), digest)
        paths = {route.path for route in app.routes if isinstance(route, Route)}
        assert len(paths) == len(app.routes)
        transport = httpx.ASGITransport(app=app, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            for path in paths:
                answer = await client.get(path, headers={"Authorization": presented})
                assert answer.status_code == (status if path == "/metrics" else 200), path

    asyncio.run(work())

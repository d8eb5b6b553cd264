"""The OpenAPI documents as a stranger reads them: schemathesis makes requests out of them, right
and wrong ones, and the services answer as documented. Skipped where it is not installed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from fastapi import FastAPI

from services.common.http1_server import Http1Server
from services.party.app import make_app as party_app
from tests.gateway.rig import TOKEN, rig
from tests.party.triple import Triple

schemathesis = pytest.importorskip("schemathesis")
# Registers the checks on headers, statuses and bodies; in 4.x they are not in the package itself.
openapi_checks = pytest.importorskip("schemathesis.specs.openapi.checks")

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")

EXAMPLES = 30
CHECKS = [
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
Serve = Callable[[], AbstractAsyncContextManager[Any]]


@contextlib.contextmanager
def in_thread(serve: Serve) -> Iterator[str]:
    """An application in a thread of its own; gives its address."""
    ports: list[int] = []
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with serve() as app:
            server = Http1Server(app, "127.0.0.1", 0)
            await server.start()
            ports.append(server.port)
            started.set()
            await stop.wait()
            await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


@asynccontextmanager
async def gateway() -> AsyncIterator[Any]:
    """The real application, with parties that answer at once."""
    async with rig(body_idle_timeout=2) as made:
        yield made.app


@asynccontextmanager
async def broken() -> AsyncIterator[Any]:
    """A service that fails where it says that it answers."""
    app = FastAPI()

    @app.get("/v1/number")
    def number(of: int) -> int:
        return 1 // of

    yield app


def party(folder: Path) -> Serve:
    @asynccontextmanager
    async def serve() -> AsyncIterator[Any]:
        triple = Triple(folder)
        triple.start(0)
        try:
            yield party_app(triple.nodes[0])
        finally:
            await triple.stop()

    return serve


def attack(url: str, *, v2: bool, headers: dict[str, str]) -> set[str]:
    """Try every operation of the document; the labels of those that were tried."""
    tried: set[str] = set()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        tried.add(operation.label)
        for mode in schemathesis.GenerationMode:
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong
                _attack(operation, mode, url, v2, headers)
    return tried


def _attack(operation: Any, mode: Any, url: str, v2: bool, headers: dict[str, str]) -> None:
    documented = operation.definition.raw["responses"]

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode), stored=hypothesis.strategies.booleans()
    )
    def one(case: Any, stored: bool) -> None:
        if stored and "name" in case.path_parameters:
            case.path_parameters["name"] = "digits"
        response = case.call(base_url=url, headers=headers, timeout=20)
        status = response.status_code
        assert status < 500 or status == 503, f"{case.as_curl_command()}: {status}"
        if v2 and status >= 400 and case.method != "HEAD":
            assert isinstance(json.loads(response.content)["error"], str)
        # What no route documents any may answer; these only.
        assert str(status) in documented or status in (400, 401, 404, 405, 408, 411, 413, 415, 431)
        if str(status) in documented:
            case.validate_response(response, checks=CHECKS)

    one()


@pytest.mark.slow
@pytest.mark.parametrize("headers", [AUTHORIZED, {}], ids=["with a token", "without"])
def test_the_gateway_answers_as_its_document_says(headers: dict[str, str]) -> None:
    with in_thread(gateway) as url:
        tried = attack(url, v2=True, headers=headers)
    assert {"POST /v2/models/{name}/infer", "PUT /v2/models/{name}"} <= tried


@pytest.mark.slow
def test_a_party_answers_as_its_document_says(tmp_path: Path) -> None:
    with in_thread(party(tmp_path)) as url:
        tried = attack(url, v2=False, headers={})
    assert tried == {"GET /v1/status"}


@pytest.mark.slow
def test_a_service_that_fails_is_found() -> None:
    with in_thread(broken) as url, pytest.raises(AssertionError, match="500"):
        attack(url, v2=False, headers={})

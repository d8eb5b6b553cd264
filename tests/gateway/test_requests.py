"""A request's id in answers, errors and the log, and what else is logged of it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from libmpc.client.http import Response, check
from libmpc.errors import ServiceError
from services.common.telemetry import setup_logging
from tests.gateway.fakes import MODEL
from tests.gateway.rig import TOKEN, Rig, binary_request, header, rig, run

ID = "X-Request-Id"
FIELDS = {"time", "level", "logger", "service", "message", "request"}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log, as JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    setup_logging("gateway", level="debug", as_json=True, stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines of requests."""
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in found if line["logger"] == "libmpc.gateway.requests"]


async def get(r: Rig, path: str, **headers: str) -> Any:
    return await r.client.get(path, headers=headers)


def test_every_answer_has_an_id_of_its_own() -> None:
    async def work() -> None:
        async with rig() as r:
            answers = [await get(r, path) for path in ("/v2", "/v2", "/v2/health/live", "/nothing")]
            answers.append(await r.infer())
            ids = [answer.headers[ID] for answer in answers]
            assert len(set(ids)) == len(ids)
            assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in ids)
            assert answers[3].json()["request"] == ids[3]

    run(work())


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("ticket-4711", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("two words", False),
        ('"},{"x":"', False),
        ("line\u00e9", False),
    ],
)
def test_a_well_formed_id_is_kept(wanted: str, kept: bool) -> None:
    async def work() -> None:
        async with rig() as r:
            answer = await r.client.get("/v2", headers={ID: wanted.encode("latin-1")})  # type: ignore[dict-item]
            assert (answer.headers[ID] == wanted) == kept

    run(work())


def test_a_query_in_the_log(lines: io.StringIO) -> None:
    async def work() -> None:
        async with rig(log_json=True) as r:
            query = header(shape=(3, 4))
            content, headers = binary_request(query)
            url = "/v2/models/digits/infer"
            async with r.bearing(r.token("client", "somebody")) as client:
                answer = await client.client.post(url, content=content, headers=headers)
            assert answer.status_code == 200
            (line,) = told(lines)
            assert line["request"] == answer.headers[ID]
            tokens = [state.id for state in await r.gateway.access.states()]
            assert {name: line[name] for name in line if name not in FIELDS | {"seconds"}} == {
                "method": "POST",
                "route": "/v2/models/{name}/infer",
                "status": 200,
                "token": tokens[0],
                "model": "digits",
                "images": 3,
                "query": query.number[:8],
            }
            assert 0 < line["seconds"] < 60
            assert line["level"] == "info"

    run(work())


def test_nothing_of_a_strangers_choice_is_in_the_log(lines: io.StringIO) -> None:
    async def work() -> None:
        async with rig(log_json=True) as r:
            mark = "Zebra8472"
            for method, path in (
                ("GET", f"/v2/{mark}"),
                ("GET", f"/v2/models/{mark}"),
                ("POST", f"/v2/models/{mark}/infer?{mark}={mark}"),
                (mark, "/v2"),
            ):
                await r.client.request(method, path, content=mark, headers={"User-Agent": mark})
            found = told(lines)
            assert len(found) == 4
            assert [line["route"] for line in found[:3]] == [
                *("other", "/v2/models/{name}", "/v2/models/{name}/infer"),
            ]
            assert found[-1]["method"] == "other"
            assert mark not in json.dumps(found)
            assert TOKEN not in lines.getvalue()
            assert MODEL not in json.dumps(found)
            assert not any("address" in line for line in found)

    run(work())


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 0),
        ({"log_json": True}, 1),
        ({"log_json": True, "log_requests": False}, 0),
        ({"log_requests": True}, 1),
    ],
)
def test_requests_are_logged_where_that_is_wanted(
    lines: io.StringIO, changes: dict[str, bool], count: int
) -> None:
    async def work() -> None:
        async with rig(**changes) as r:
            await get(r, "/v2")
            assert len(told(lines)) == count

    run(work())


def test_addresses_only_where_that_is_wanted(lines: io.StringIO) -> None:
    async def work() -> None:
        async with rig(log_json=True, log_addresses=True) as r:
            async with r.another_client("192.0.2.7") as other:
                await get(other, "/v2")
            (line,) = told(lines)
            assert line["address"] == "192.0.2.7"

    run(work())


def test_what_is_logged_for_a_request_has_its_id(lines: io.StringIO) -> None:
    async def work() -> None:
        async with rig(log_json=True) as r:
            r.gateway.router.first.catalogue.views = None  # type: ignore[assignment]
            answer = await get(r, "/v2/models")
            assert answer.status_code == 500
            found = [json.loads(line) for line in lines.getvalue().splitlines()]
            (line,) = [one for one in found if one["level"] == "error"]
            assert line["request"] == answer.headers[ID] == answer.json()["request"]

    run(work())


def test_a_clients_error_names_the_request() -> None:
    body = json.dumps({"error": "the queue is full", "request": "0123456789abcdef"}).encode()
    answer = Response(429, {"x-request-id": "0123456789abcdef"}, body)
    with pytest.raises(ServiceError) as refused:
        check("https://gateway", answer)
    assert str(refused.value) == "the queue is full (request 0123456789abcdef)"
    assert refused.value.request == "0123456789abcdef"


@pytest.mark.parametrize("named", ["", "x" * 65, "\x1b[31m", "two words"])
def test_a_gateway_cannot_write_to_a_terminal_by_it(named: str) -> None:
    answer = Response(429, {"x-request-id": named}, b'{"error": "the queue is full"}')
    with pytest.raises(ServiceError) as refused:
        check("https://gateway", answer)
    assert str(refused.value) == "the queue is full"
    assert refused.value.request == ""

"""Queries through the whole gateway, in both encodings."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from libmpc.party.messages import Kind
from services.gateway.families import PHASES
from tests.gateway.fakes import MODEL, state
from tests.gateway.rig import (
    BINARY,
    SHARES,
    TOKEN,
    binary_answer,
    binary_request,
    header,
    json_request,
    rig,
    run,
)

REPLIES = [b"reply 0 " + SHARES[0], b"reply 1 " + SHARES[1]]
URL = "/v2/models/digits/infer"


def test_binary_query() -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.infer(top={"id": "seven"})
            assert response.status_code == 200
            document, replies = binary_answer(response)
            assert replies == REPLIES
            assert document["model_name"] == "digits"
            assert document["id"] == "seven"
            assert [output["name"] for output in document["outputs"]] == ["logits0", "logits1"]
            assert not r.parties[2].payloads(Kind.BATCH)  # the dealer hears of no query

    run(work())


def test_json_query() -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.client.post(URL, json=json_request())
            assert response.status_code == 200
            assert BINARY not in response.headers
            outputs = response.json()["outputs"]
            assert [base64.b64decode(o["data"][0]) for o in outputs] == REPLIES

    run(work())


def test_outputs_can_be_chosen() -> None:
    async def work() -> None:
        async with rig() as r:
            body = json_request(binary_data_output=True)
            body["outputs"] = [{"name": "logits1"}]
            document, replies = binary_answer(await r.client.post(URL, json=body))
            assert replies == REPLIES[1:]
            assert document["outputs"][0]["name"] == "logits1"
            body = json_request(header())
            body["outputs"] = [{"name": "logits0", "parameters": {"binary_data": True}}]
            _, replies = binary_answer(await r.client.post(URL, json=body))
            assert replies == REPLIES[:1]

    run(work())


def test_large_query_comes_through_whole() -> None:
    shares = (bytes(range(256)) * 4096, b"\x00" * 3_000_000)

    async def work() -> None:
        async with rig() as r:
            _, replies = binary_answer(await r.infer(shares=shares))
            assert replies == [b"reply %d " % i + share for i, share in enumerate(shares)]

    run(work())


def test_unknown_and_replaced_models() -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.infer("letters")
            assert response.status_code == 404
            assert "letters" in response.json()["error"]
            response = await r.infer(query=header(model="00" * 32))
            assert response.status_code == 409
            for party in r.parties:
                party.models = [state(party.index, model="22" * 32)]
            # The name is known by its old digest until the list is asked for again.
            assert (await r.infer(query=header(model="22" * 32))).status_code == 200
            assert (await r.infer(query=header(model=MODEL))).status_code == 409

    run(work())


def test_known_models_cost_no_question() -> None:
    async def work() -> None:
        async with rig() as r:
            for _ in range(5):
                assert (await r.infer()).status_code == 200
            assert len(r.parties[0].payloads(Kind.MODELS)) == 1

    run(work())


def test_timeout_is_microseconds_and_bounded() -> None:
    async def work() -> None:
        async with rig(query_timeout=7, max_query_timeout=60) as r:
            await r.infer()
            await r.infer(timeout=1_500_000)
            await r.infer(timeout=3_600_000_000)
            assert r.parties[0].timeouts == [7000, 1500, 60000]
            assert r.parties[0].timeouts == r.parties[1].timeouts

    run(work())


def test_body_limits() -> None:
    async def work() -> None:
        async with rig(max_infer_bytes=2000, max_json_bytes=700) as r:
            response = await r.infer(shares=(b"x" * 3000, b"y"))
            assert response.status_code == 413
            assert "2000 bytes" in response.json()["error"]
            content, headers = binary_request(shares=(b"x" * 3000, b"y"))

            async def chunked():  # type: ignore[no-untyped-def]  # noqa: ANN202
                for start in range(0, len(content), 100):
                    yield content[start : start + 100]

            response = await r.client.post(URL, content=chunked(), headers=headers)
            assert response.status_code == 413
            response = await r.client.post(URL, json=json_request(shares=(b"x" * 400, b"y")))
            assert response.status_code == 413
            assert "binary" in response.json()["error"]
            assert (await r.infer(shares=(b"x" * 900, b"y"))).status_code == 200

    run(work())


def test_memory_is_bounded_and_given_back() -> None:
    async def work() -> None:
        async with rig(memory_bytes=3000) as r:
            for party in r.parties:
                party.holding = True
            first = r.infer_soon(shares=(b"x" * 1500, b"y"))
            await r.parties[1].wait_for(Kind.BATCH)
            response = await r.infer(shares=(b"x" * 1500, b"y"))
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
            for party in r.parties:
                party.holding = False
                party.release()
            assert (await first).status_code == 200
            assert (await r.infer(shares=(b"x" * 1500, b"y"))).status_code == 200
            sample = r.gateway.metrics.registry.get_sample_value("libmpc_gateway_body_bytes")
            assert sample == 0

    run(work())


def test_silent_sender() -> None:
    async def work() -> None:
        async with rig(body_idle_timeout=0) as r:
            sent = []

            async def receive() -> dict[str, object]:
                import asyncio

                await asyncio.Event().wait()
                raise AssertionError

            async def send(message: dict[str, object]) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "POST",
                "path": URL,
                "query_string": b"",
                "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
            }
            await r.app(scope, receive, send)
            assert sent[0]["status"] == 408

    run(work())


def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is not silence, but it would hold a connection for days."""
    monkeypatch.setattr("services.gateway.bodies.MIN_RATE", 1 << 20)

    async def work() -> None:
        async with rig(body_idle_timeout=0.05) as r:

            async def trickle() -> AsyncIterator[bytes]:
                for _ in range(1000):
                    await asyncio.sleep(0.01)  # the sender's own pace
                    yield b"x"

            response = await r.client.post(URL, content=trickle())
            assert response.status_code == 408
            assert "bytes a second" in response.json()["error"]

    run(work())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": "9" * 5000}, 413),
        ({"content-encoding": "gzip"}, 415),
        ({BINARY: "-1"}, 400),
        ({BINARY: "1e3"}, 400),
        ({BINARY: "99999999"}, 400),
    ],
)
def test_headers_that_are_refused(headers: dict[str, str], status: int) -> None:
    async def work() -> None:
        async with rig() as r:
            response = await r.client.post(URL, content=b"{}", headers=headers)
            assert response.status_code == status
            assert set(response.json()) == {"error", "request"}

    run(work())


def test_metrics_count_outcomes() -> None:
    async def work() -> None:
        async with rig() as r:
            await r.infer()
            await r.infer("letters")
            await r.client.post(URL, content=b"nonsense")
            value = r.gateway.metrics.registry.get_sample_value
            for outcome, count in (("answered", 1), ("rejected", 1), ("invalid", 1)):
                labels = {"outcome": outcome}
                assert value("libmpc_gateway_queries_total", labels) == count
            duration = "libmpc_gateway_query_duration_seconds_count"
            assert value(duration, {"model": "digits", "outcome": "answered"}) == 1
            # Their models are none that there are, so they have no name here.
            for outcome in ("rejected", "invalid"):
                assert value(duration, {"model": "", "outcome": outcome}) == 1
            infer = {"method": "POST", "route": "/v2/models/{name}/infer"}
            for status, count in (("200", 1), ("404", 1), ("400", 1)):
                labels = infer | {"status": status}
                assert value("libmpc_gateway_requests_total", labels) == count
            for phase in PHASES:
                labels = {"phase": phase}
                assert value("libmpc_gateway_query_phase_seconds_count", labels) == 1
            assert value("libmpc_gateway_batch_queries_sum") == 1
            assert value("libmpc_gateway_batch_images_sum") == 1
            assert value("libmpc_gateway_batches") == 0
            for reason, count in (("not_found", 1), ("invalid", 1), ("late", 0)):
                assert value("libmpc_gateway_refusals_total", {"reason": reason}) == count
            for direction in ("sent", "received"):
                labels = {"party": "0", "direction": direction}
                assert (value("libmpc_gateway_link_payload_bytes_total", labels) or 0) > 0
            assert value("libmpc_gateway_party_up", {"party": "2", "triple": "0"}) == 1

    run(work())

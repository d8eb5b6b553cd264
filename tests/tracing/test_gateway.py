"""The gateway's spans, and what it tells a party of them, by what the party understands."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from libmpc.party.framing import split
from libmpc.party.messages import Batch, Kind
from libmpc.tracing import Tracing
from services.common.tracing import NO_TELEMETRY
from services.gateway.app import make_app as gateway_app
from services.party.app import make_app as party_app
from tests.gateway.fakes import MODEL
from tests.gateway.rig import Rig, binary_request, rig, run

pytest.importorskip("opentelemetry.sdk")
URL = "/v2/models/digits/infer"
PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


@pytest.fixture
def memory() -> Iterator[tuple[Any, Any]]:
    """A provider, and where its spans are."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


async def ask(r: Rig, **headers: str) -> int:
    content, own = binary_request()
    return (await r.client.post(URL, content=content, headers=own | headers)).status_code


def heard(r: Rig, party: int) -> list[str | None]:
    """The traces that a party was told of."""
    batches = [Batch.parse(split(p)[0]) for p in r.parties[party].payloads(Kind.BATCH)]
    return [entry.trace for batch in batches for entry in batch.entries]


def test_the_gateway_goes_on_with_a_clients_trace(memory: tuple[Any, Any]) -> None:
    async def work() -> None:
        async with rig() as r:
            r.gateway.tracing = Tracing(memory[0])
            assert await ask(r, traceparent=PARENT, tracestate="secret=1", baggage="a=b") == 200
            spans = {span.name: span for span in memory[1].get_finished_spans()}
            assert set(spans) == {"libmpc.gateway.query", "admit", "queue", "flight"}
            query = spans["libmpc.gateway.query"]
            assert f"{query.parent.span_id:016x}" == "cd" * 8
            assert not query.context.trace_state
            assert dict(query.attributes) == {
                "libmpc.model.name": "digits",
                "libmpc.model.digest": MODEL,
                "libmpc.batch": 1,
                "libmpc.outcome": "answered",
            }
            own = f"00-{'ab' * 16}-{query.context.span_id:016x}-01"
            assert [heard(r, party) for party in (0, 1, 2)] == [[own], [own], []]

    run(work())


@pytest.mark.parametrize("parent", ["", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01", PARENT * 9])
def test_a_malformed_parent_makes_a_new_trace(memory: tuple[Any, Any], parent: str) -> None:
    async def work() -> None:
        async with rig() as r:
            r.gateway.tracing = Tracing(memory[0])
            assert await ask(r, traceparent=parent) == 200
            (query,) = [s for s in memory[1].get_finished_spans() if s.parent is None]
            assert query.name == "libmpc.gateway.query"

    run(work())


def test_without_tracing_nobody_is_told_of_a_trace() -> None:
    async def work() -> None:
        async with rig() as r:
            assert await ask(r, traceparent=PARENT) == 200
            assert heard(r, 0) == heard(r, 1) == [None]
            assert b"trace" not in b"".join(r.parties[0].payloads(Kind.BATCH))

    run(work())


def test_a_party_of_an_older_minor_version_is_not_told(memory: tuple[Any, Any]) -> None:
    async def work() -> None:
        async with rig() as r:
            r.gateway.tracing = Tracing(memory[0])
            session = r.gateway.router.first.links[1].session
            session._link.version = (1, 1)
            assert await ask(r, traceparent=PARENT) == 200
            assert heard(r, 0) != [None]
            assert heard(r, 1) == [None]
            assert b"trace" not in b"".join(r.parties[1].payloads(Kind.BATCH))

    run(work())


@pytest.mark.parametrize(
    ("change", "outcome"), [({"name": "letters"}, "rejected"), ({"content": b"no"}, "invalid")]
)
def test_refused_queries_name_no_model(
    memory: tuple[Any, Any], change: dict[str, Any], outcome: str
) -> None:
    async def work() -> None:
        async with rig() as r:
            r.gateway.tracing = Tracing(memory[0])
            content, headers = binary_request()
            url = f"/v2/models/{change.get('name', 'digits')}/infer"
            answer = await r.client.post(
                url, content=change.get("content", content), headers=headers
            )
            assert answer.status_code >= 400
            (span,) = memory[1].get_finished_spans()
            assert dict(span.attributes) == {"libmpc.outcome": outcome}

    run(work())


def test_the_frameworks_own_telemetry_is_off() -> None:
    """It would put paths and the texts of errors into spans and logs."""
    unused: Any = SimpleNamespace(access=None)
    for app in (gateway_app(unused), party_app(unused)):
        own = getattr(app, "_telemetry", None)
        if own is None:
            pytest.skip("this FastAPI has none")
        assert {name: own[name] for name in NO_TELEMETRY} == NO_TELEMETRY
        assert not any(NO_TELEMETRY.values())

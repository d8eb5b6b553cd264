"""Traces of real processes: client, gateway and both evaluators, and nothing of the dealer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import libmpc
from libmpc import data
from tests.tracing.collector import Collector, collecting

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
pytestmark = pytest.mark.timeout(300)  # a whole cluster, from the start
QUERIES = 3


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """What came of some queries, one of them refused."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images, _ = data.digits()
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBMPC_PARTY_TRACING", "true")
        patch.setenv("LIBMPC_GATEWAY_TRACING", "true")
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        provider = TracerProvider(resource=Resource({"service.name": "client"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
        with libmpc.LocalCluster(tmp_path_factory.mktemp("traced")) as cluster:
            served = cluster.share(model, "digits", serve=True)
            with libmpc.Client(cluster.deployment, tracing=provider, retries=0) as client:
                own = provider.get_tracer("application").start_span("session")
                with trace.use_span(own, end_on_exit=True):
                    for _ in range(QUERIES):
                        answer = client.query("digits", images[:2])
                        assert np.array_equal(answer, model.reference(images[:2]))
                served.stop()
                with pytest.raises(libmpc.UnavailableError):
                    client.query("digits", images[:1])
            collector.wait_for("libmpc.party.query", 2 * QUERIES)
            collector.wait_for("libmpc.gateway.query", QUERIES)
        provider.shutdown()
        yield collector


def attributes(span: Any) -> dict[str, Any]:
    found = {a.key: a.value for a in span.attributes}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in found.items()}


def answered(collector: Collector) -> list[dict[tuple[str, str], Any]]:
    """The traces of answered queries: spans by service and name."""
    found: dict[bytes, dict[tuple[str, str], Any]] = {}
    for service, span in collector.spans:
        found.setdefault(span.trace_id, {})[service, span.name] = span
    queries = [spans for spans in found.values() if ("client", "libmpc.client.query") in spans]
    root = ("client", "libmpc.client.query")
    return [s for s in queries if attributes(s[root])["libmpc.outcome"] == "answered"]


def test_one_trace_connects_client_gateway_and_both_evaluators(traces: Collector) -> None:
    found = answered(traces)
    assert len(found) == QUERIES
    for spans in found:
        client = spans["client", "libmpc.client.query"]
        gateway = spans["libmpc-gateway", "libmpc.gateway.query"]
        parties = [spans[f"libmpc-party{i}", "libmpc.party.query"] for i in (0, 1)]
        assert client.parent_span_id == b""
        assert gateway.parent_span_id == client.span_id
        assert {party.parent_span_id for party in parties} == {gateway.span_id}
        parts = {
            client.span_id: ["seal", "request", "open"],
            gateway.span_id: ["admit", "queue", "flight"],
            parties[0].span_id: ["open", "wait for bundle", "rounds", "seal"],
            parties[1].span_id: ["open", "wait for bundle", "rounds", "seal"],
        }
        whole = {span.span_id: span for span in spans.values()}
        for parent, names in parts.items():
            below = [s for s in spans.values() if s.parent_span_id == parent and s.name in names]
            assert sorted(s.name for s in below) == sorted(names)
            for span in below:
                assert span.start_time_unix_nano <= span.end_time_unix_nano
                assert span.end_time_unix_nano <= whole[parent].end_time_unix_nano
        assert len(spans) == 4 + sum(map(len, parts.values()))


def test_spans_say_what_docs_say_and_no_more(traces: Collector) -> None:
    common = {"libmpc.model.name", "libmpc.model.digest", "libmpc.batch", "libmpc.outcome"}
    for spans in answered(traces):
        for (service, name), span in spans.items():
            found = attributes(span)
            if not name.startswith("libmpc."):
                assert found == {}
                continue
            triple = {"libmpc.triple"} if service.startswith("libmpc-party") else set()
            assert set(found) == common | triple
            assert (found["libmpc.model.name"], found["libmpc.batch"]) == ("digits", 2)
    for _, span in traces.spans:
        assert not span.events
        assert not span.trace_state


def test_each_sealing_has_a_trace_of_its_own(traces: Collector) -> None:
    """The application's own trace is known to its own backend only."""
    sessions = [span for _, span in traces.spans if span.name == "session"]
    assert len(sessions) == 1
    roots = [spans["client", "libmpc.client.query"] for spans in answered(traces)]
    assert len({root.trace_id for root in roots}) == QUERIES
    for root in roots:
        assert [link.trace_id for link in root.links] == [sessions[0].trace_id]
    away = {span.trace_id for service, span in traces.spans if service.startswith("libmpc")}
    assert sessions[0].trace_id not in away


def test_the_dealer_has_no_spans(traces: Collector) -> None:
    assert {service for service, _ in traces.spans} == {
        *("client", "libmpc-gateway", "libmpc-party0", "libmpc-party1"),
    }


def test_a_refusal_shows_as_one(traces: Collector) -> None:
    outcomes = {
        attributes(span).get("libmpc.outcome")
        for service, span in traces.spans
        if (service, span.name) == ("libmpc-gateway", "libmpc.gateway.query")
    }
    assert outcomes == {"answered", "unavailable"}

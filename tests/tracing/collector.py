"""A place for traces to go to: OTLP over HTTP, as a real collector takes it."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Collector:
    """What has come.

    Attributes:
        url: what OTEL_EXPORTER_OTLP_ENDPOINT must be.
        bodies: every body, as it was sent.
        spans: all spans, with the service that sent each.
    """

    url: str
    bodies: list[bytes] = field(default_factory=list)
    spans: list[tuple[str, Any]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def add(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        found = ExportTraceServiceRequest.FromString(body)
        with self.arrived:
            self.bodies.append(body)
            for resource in found.resource_spans:
                attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [(attributes["service.name"], span) for span in scope.spans]
            self.arrived.notify_all()

    def wait_for(self, name: str, count: int, seconds: float = 30.0) -> None:
        """Return once so many spans of a name have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.named(name) >= count, seconds), self.spans

    def named(self, name: str) -> int:
        """How many spans of a name have come."""
        return sum(span.name == name for _, span in self.spans)


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.add(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()

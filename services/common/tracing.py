"""Where a service's traces go: OTLP over HTTP, as the standard OTEL_* variables say."""

from __future__ import annotations

import os
import threading
from typing import Any

from libmpc.errors import ConfigError
from libmpc.tracing import Tracing

#: SECURITY: newer FastAPIs (0.165) trace and log requests by themselves, with whole paths and texts
#: of errors, where somebody has configured OpenTelemetry for the process. Older ones ignore this.
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
_SERVICE = "service.name"
#: spans that are left when the service ends have this long to leave
_FLUSH_SECONDS = 1.0


class ServiceTracing:
    """A service's tracing, or none.

    Args:
        wanted: the setting ``tracing``.
        service: its name in traces, unless the environment has another one.
        triple: as of ``Tracing``.

    Attributes:
        tracing: ``None`` where it is off.

    Raises:
        ConfigError: it is wanted, and OpenTelemetry is not installed or set to what we do not know.
    """

    def __init__(self, wanted: bool, service: str, triple: int | None = None) -> None:
        self._provider = _provider(service) if wanted else None
        self.tracing = None if self._provider is None else Tracing(self._provider, triple)

    def close(self) -> None:
        """Send what is left, for a second at most."""
        if self._provider is not None:
            # The exporter tries for much longer; a thread of its own must not hold up the end.
            last = threading.Thread(target=self._provider.shutdown, daemon=True)
            last.start()
            last.join(_FLUSH_SECONDS)


def _provider(service: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
    except ImportError:
        raise ConfigError(
            "tracing is set, and OpenTelemetry is not installed: pip install 'libmpc[otel]',"
            " or set it to false"
        ) from None
    named = "OTEL_SERVICE_NAME" in os.environ
    named = named or f"{_SERVICE}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    # Endpoint, headers, sampler and limits are read from the environment by the library itself.
    resource = Resource.create({} if named else {_SERVICE: f"libmpc-{service}"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if exporter == "otlp":
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    elif exporter == "console":
        provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    elif exporter != "none":
        raise ConfigError("OTEL_TRACES_EXPORTER must be otlp, console or none")
    return provider

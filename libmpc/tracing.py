"""Traces of queries through client, gateway and evaluators, as OpenTelemetry has them.

Off unless somebody passes a provider: without one nothing of OpenTelemetry is imported, and what
could be traced costs a comparison with ``None``.

SECURITY: a span tells what its process knows anyway: which model, how many samples, how it ended
and how long its parts took. Nothing of an input, an answer, a share, a token, an address or a
query's number goes into one. The dealer never hears of queries, so it has no spans.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from libmpc._version import __version__
from libmpc.errors import LimitError, UnavailableError

#: the header that carries a trace from client to gateway (W3C Trace Context)
HEADER = "traceparent"
#: what it may be: version, trace id, span id, and whether it is sampled
PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$"
_TRACEPARENT = re.compile(PATTERN)
_NOBODY = re.compile(r"00-(0{32}-|.{32}-0{16}).*")
#: outcomes that are a service's fault
_ERRORS = ("unavailable", "failed")

Clock = Callable[[], float]


class Provider(Protocol):
    """An ``opentelemetry.trace.TracerProvider``."""

    def get_tracer(self, name: str, version: str | None = None) -> Any: ...


class QuerySpan:
    """One process's part in a query: a span, and one below it for each phase.

    Args:
        tracer: an OpenTelemetry tracer.
        span: what was started a moment ago.
        clock: seconds, in which phases are told.

    Attributes:
        traceparent: what the next process needs to go on with the trace.
    """

    def __init__(self, tracer: Any, span: Any, clock: Clock) -> None:
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self._began, self._wall = clock(), time.time_ns()
        self._lap = self._began
        self._phases: list[tuple[str, float, float]] = []
        context = span.get_span_context()
        flag = int(context.trace_flags) & 1
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flag:02x}"

    def about(self, *, model: str, digest: str, batch: int) -> None:
        """What the query is for.

        Args:
            model: the name of a stored model.
            digest: its digest (hex).
            batch: how many samples are asked for.
        """
        # SECURITY: all that a span may say, besides the outcome and the triple.
        self._span.set_attribute("libmpc.model.name", model)
        self._span.set_attribute("libmpc.model.digest", digest)
        self._span.set_attribute("libmpc.batch", batch)

    def phase(self, name: str, begin: float, end: float) -> None:
        """A part of it, in seconds of ``clock``."""
        self._phases.append((name, begin, end))

    def lap(self, name: str) -> None:
        """The part that ends now and began where the last lap ended."""
        now = self._clock()
        self.phase(name, self._lap, now)
        self._lap = now

    def end(self, outcome: str) -> None:
        """It is over; in a word, how."""
        from opentelemetry import trace

        end = self._clock()
        if self._span.is_recording():
            context = trace.set_span_in_context(self._span)
            for name, begin, until in self._phases:
                part = self._tracer.start_span(name, context, start_time=self._at(begin))
                part.end(self._at(until))
            self._span.set_attribute("libmpc.outcome", outcome)
            if outcome in _ERRORS:
                self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._span.end(self._at(max([end, *(until for _, _, until in self._phases)])))

    def _at(self, moment: float) -> int:
        """Nanoseconds of Unix time."""
        return self._wall + round((moment - self._began) * 1e9)


class Tracing:
    """Makes the spans of one process.

    Args:
        provider: where they go.
        triple: which of its party's processes this is, for parties.
    """

    def __init__(self, provider: Provider, triple: int | None = None) -> None:
        self._tracer = provider.get_tracer("libmpc", __version__)
        self._triple = triple

    def ask(self, name: str) -> QuerySpan:
        """A client's span of one sealing: the root of a trace of its own.

        SECURITY: new for every sealing, so that a gateway can tell by it no more than by the
        query's number which queries belong together. The application's own trace is only linked
        to, from the client's span, which the gateway does not see.
        """
        from opentelemetry import context, trace

        own = trace.get_current_span().get_span_context()
        links = [trace.Link(own)] if own.is_valid else []
        span = self._tracer.start_span(
            name, context.Context(), kind=trace.SpanKind.CLIENT, links=links
        )
        return QuerySpan(self._tracer, span, perf_counter)

    def serve(self, name: str, parent: str, clock: Clock = perf_counter) -> QuerySpan:
        """A service's span; its trace is the one that ``parent`` names, if that is well-formed."""
        from opentelemetry import trace

        where = _context(parent) if is_traceparent(parent) else None
        span = self._tracer.start_span(name, where, kind=trace.SpanKind.SERVER)
        if self._triple is not None:
            span.set_attribute("libmpc.triple", self._triple)
        return QuerySpan(self._tracer, span, clock)


def is_traceparent(text: str) -> bool:
    """Whether it names a span, in the version of the standard that we know."""
    return _TRACEPARENT.fullmatch(text) is not None and _NOBODY.fullmatch(text) is None


def outcome_of(error: BaseException | None) -> str:
    """How something ended, in a word that says no more than a metric does."""
    if error is None:
        return "answered"
    if isinstance(error, LimitError):
        return "limited"
    return "unavailable" if isinstance(error, UnavailableError) else "rejected"


def _context(parent: str) -> Any:
    from opentelemetry import context, trace

    _, trace_id, span_id, flags = parent.split("-")
    remote = trace.SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(flags)),
    )
    # Of an empty context, whatever else runs here.
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), context.Context())

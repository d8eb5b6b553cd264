"""What a gateway counts, for Prometheus. No name here comes from a client."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_OUTCOMES = {400: "invalid", 429: "limited", 503: "unavailable", 500: "failed"}
OUTCOMES = ("answered", "rejected", "disconnected", *_OUTCOMES.values())


class Metrics:
    """The gateway's metrics in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._queries = Counter(
            "libmpc_gateway_queries",
            "Queries by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        self._outcomes = {outcome: self._queries.labels(outcome) for outcome in OUTCOMES}
        self.duration = Histogram(
            "libmpc_gateway_query_duration_seconds",
            "From the end of a query's body to its answer, answered queries only.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "libmpc_gateway_batch_queries",
            "Queries in a batch that was sent to the evaluators.",
            buckets=_QUERIES,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "libmpc_gateway_queue_length",
            "Queries of all models that wait to be sent.",
            registry=self.registry,
        )
        self.body_bytes = Gauge(
            "libmpc_gateway_body_bytes",
            "Bodies of requests that are held in memory.",
            registry=self.registry,
        )
        parties = Gauge(
            "libmpc_gateway_party_up",
            "1 while the link to the party is up.",
            ["party"],
            registry=self.registry,
        )
        self._parties = [parties.labels(str(party)) for party in range(3)]

    def ended(self, outcome: str) -> None:
        """Count a query that ended in one of ``OUTCOMES``."""
        self._outcomes[outcome].inc()

    def failed(self, status: int | None) -> None:
        """Count a query that ended with an error of that HTTP status."""
        self.ended(_OUTCOMES.get(status or 503, "rejected"))

    def party(self, party: int, up: bool) -> None:
        """Note whether a party is reachable."""
        self._parties[party].set(up)

"""What a gateway counts, for Prometheus. No name here comes from a client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from libmpc.errors import ServiceError
from libmpc.link import LinkTotals
from libmpc.meters import COUNTS, Histogram, Level
from services.common.metrics import BY_STATUS, Sample, make_registry
from services.gateway import families


@dataclass
class TripleMeters:
    """What is counted of one triple.

    Attributes:
        up: which of its parties are reachable.
        ready: whether it can answer, as far as is known.
        load: samples that wait there or are under way.
        queries: that were sent there.
        failovers: queries that it could not answer while another triple could.
    """

    up: list[bool] = field(default_factory=lambda: [False, False, False])
    ready: Callable[[], bool] = lambda: False
    load: Callable[[], int] = lambda: 0
    queries: int = 0
    failovers: int = 0


class Metrics:
    """The gateway's counters, and a registry that shows them.

    Attributes:
        duration: from the end of a query's body to its answer.
        batch, images: queries and inputs in a batch.
        waiting: queries that wait.
        batches: batches under way.
        body_bytes: memory of requests' bodies.
        traffic: what goes over the links to the parties.
    """

    def __init__(self) -> None:
        self.duration = Histogram()
        self.batch = Histogram(COUNTS)
        self.images = Histogram((*COUNTS, 4096.0, 16384.0))
        self.waiting = Level()
        self.batches = Level()
        self.body_bytes = Level()
        self.traffic = LinkTotals()
        self._outcomes = dict.fromkeys(families.OUTCOMES, 0)
        self._refusals = dict.fromkeys(families.REASONS, 0)
        self._phases = tuple(Histogram() for _ in families.PHASES)
        self._triples: dict[int, TripleMeters] = {}
        self.registry = make_registry("gateway", families.FAMILIES, self._read)

    def answered(self, body: float, *moments: float) -> None:
        """Count a query that was answered.

        Args:
            body: when its body had been read.
            moments: when it began to arrive, was taken, was sent to the evaluators, was answered
                by both, and when the answer was there. In seconds of one clock.
        """
        self.ended("answered")
        self.duration.observe(moments[-1] - body)
        for phase, begin, end in zip(self._phases, moments[:-1], moments[1:], strict=True):
            phase.observe(end - begin)

    def ended(self, outcome: str) -> None:
        """Count a query that ended in one of ``OUTCOMES``."""
        self._outcomes[outcome] += 1

    def refused(self, status: int, code: str = "") -> None:
        """Count a query that ended with an error of that HTTP status."""
        self.ended(BY_STATUS.get(status, "rejected"))
        reason = code if code in families.CODES else families.BY_REFUSAL.get(status, "other")
        self._refusals[reason] += 1

    def failed(self, error: ServiceError) -> None:
        """Count a query that ended with this error."""
        self.refused(error.status or 503, error.code)

    def triple(self, number: int) -> TripleMeters:
        """What is counted of a triple, from zero."""
        meters = self._triples[number] = TripleMeters()
        return meters

    def forget(self, meters: TripleMeters) -> None:
        """A triple is not there any more; another one may have its number by now."""
        self._triples = {n: kept for n, kept in self._triples.items() if kept is not meters}

    def _read(self) -> Iterator[Sample]:
        for outcome, count in self._outcomes.items():
            yield families.QUERIES, [outcome], count
        for reason, count in self._refusals.items():
            yield families.REFUSALS, [reason], count
        yield families.DURATION, [], self.duration
        for phase, histogram in zip(families.PHASES, self._phases, strict=True):
            yield families.PHASE, [phase], histogram
        yield families.BATCH_QUERIES, [], self.batch
        yield families.BATCH_IMAGES, [], self.images
        yield families.QUEUE, [], self.waiting.value
        yield families.BATCHES, [], self.batches.value
        yield families.BODY_BYTES, [], self.body_bytes.value
        for number, meters in sorted(self._triples.items()):
            label = str(number)
            for party, up in enumerate(meters.up):
                yield families.PARTY_UP, [str(party), label], int(up)
            yield families.TRIPLE_READY, [label], int(meters.ready())
            yield families.TRIPLE_LOAD, [label], meters.load()
            yield families.TRIPLE_QUERIES, [label], meters.queries
            yield families.FAILOVERS, [label], meters.failovers
        yield from families.LINKS.read(self.traffic, str)

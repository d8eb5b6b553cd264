"""What a gateway counts, for Prometheus. No name here comes from a client."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from libmpc.errors import ServiceError
from libmpc.link import LinkTotals
from libmpc.meters import COUNTS, Histogram, Level
from services.common.metrics import BY_STATUS, Sample, make_registry
from services.gateway import families
from services.gateway.access import Access

_VERSION = re.compile(r"[0-9][0-9a-z.+-]{0,31}")


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
        ready: whether queries can be answered, when that was last looked at.
        stored: the names of the models that there are.
        batch, images: queries and inputs in a batch.
        waiting: queries that wait.
        batches: batches under way.
        body_bytes: memory of requests' bodies.
        traffic: what goes over the links to the parties.
        database: how the database of tokens is; set once there is one.
    """

    def __init__(self) -> None:
        self.ready = False
        self.stored: Callable[[], Collection[str]] = lambda: ()
        self.batch = Histogram(COUNTS)
        self.images = Histogram((*COUNTS, 4096.0, 16384.0))
        self.waiting = Level()
        self.batches = Level()
        self.body_bytes = Level()
        self.traffic = LinkTotals()
        self.database: Access | None = None
        self._outcomes = dict.fromkeys(families.OUTCOMES, 0)
        self._refusals = dict.fromkeys(families.REASONS, 0)
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._versions: dict[tuple[int, int], str] = {}  # by party and triple
        self._phases = tuple(Histogram() for _ in families.PHASES)
        self._triples: dict[int, TripleMeters] = {}
        self.registry = make_registry("gateway", families.FAMILIES, self._read)

    @property
    def outcomes(self) -> dict[str, int]:
        """Queries so far, by how they ended."""
        return dict(self._outcomes)

    def request(self, method: str, route: str, status: int) -> None:
        """Count an HTTP request; all three are one of few."""
        self._requests[method, route, status] += 1

    def answered(self, model: str, body: float, *moments: float) -> None:
        """Count a query that was answered.

        Args:
            model: the name of a model that there is.
            body: when its body had been read.
            moments: when it began to arrive, was taken, was sent to the evaluators, was answered
                by both, and when the answer was there. In seconds of one clock.
        """
        self.ended("answered", model, moments[-1] - body)
        for phase, begin, end in zip(self._phases, moments[:-1], moments[1:], strict=True):
            phase.observe(end - begin)

    def ended(self, outcome: str, model: str = "", seconds: float | None = None) -> None:
        """Count a query that ended in one of ``OUTCOMES``.

        Args:
            model: the name of a model that there is; empty where it is not known to be one.
            seconds: since its body was there; ``None`` if it never was.
        """
        self._outcomes[outcome] += 1
        if seconds is None:
            return
        durations = self._durations.get((model, outcome))
        if durations is None:
            durations = self._durations[model, outcome] = Histogram()
        durations.observe(seconds)

    def refused(
        self, status: int, code: str = "", model: str = "", seconds: float | None = None
    ) -> None:
        """Count a query that ended with an error of that HTTP status; else as ``ended``."""
        self.ended(BY_STATUS.get(status, "rejected"), model, seconds)
        reason = code if code in families.CODES else families.BY_REFUSAL.get(status, "other")
        self._refusals[reason] += 1

    def failed(self, error: ServiceError, model: str = "", seconds: float | None = None) -> None:
        """Count a query that ended with this error; else as ``ended``."""
        self.refused(error.status or 503, error.code, model, seconds)

    def heard(self, triple: int, party: int, version: str) -> None:
        """A party has said which version it is, in that triple."""
        # It is another organisation's word: shown only if it looks like one.
        self._versions[party, triple] = version if _VERSION.fullmatch(version) else "other"

    def triple(self, number: int) -> TripleMeters:
        """What is counted of a triple, from zero."""
        meters = self._triples[number] = TripleMeters()
        return meters

    def forget(self, meters: TripleMeters) -> None:
        """A triple is not there any more; another one may have its number by now."""
        self._triples = {n: kept for n, kept in self._triples.items() if kept is not meters}
        self._versions = {key: v for key, v in self._versions.items() if key[1] in self._triples}

    def _read(self) -> Iterator[Sample]:
        for outcome, count in self._outcomes.items():
            yield families.QUERIES, [outcome], count
        for reason, count in self._refusals.items():
            yield families.REFUSALS, [reason], count
        stored = {"", *self.stored()}
        self._durations = {key: d for key, d in self._durations.items() if key[0] in stored}
        for (model, outcome), durations in self._durations.items():
            yield families.DURATION, [model, outcome], durations
        for (method, route, status), count in self._requests.items():
            yield families.REQUESTS, [method, route, str(status)], count
        yield families.READY, [], int(self.ready)
        for (party, triple), version in sorted(self._versions.items()):
            yield families.PARTY_VERSION, [str(party), str(triple), version], 1
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
        if self.database is not None:
            yield families.DATABASE_UP, [], int(self.database.calls.up)
            yield families.DATABASE_FAILURES, [], self.database.calls.failures
            yield families.DATABASE_AGE, [], self.database.age
        yield from families.LINKS.read(self.traffic, str)

"""Queries grouped into batches: at once while a model is idle, together while it is busy.

Each model has a queue and a budget of batches of its own, so a busy model does not hold up another.
With nothing under way a query leaves at once. Otherwise queries gather, since a run costs more than
a sample in it, until

* fewer than ``batches`` are under way and as many samples wait as the smallest of them has, so that
  batches grow with the load and two of a size overlap; or
* the last batch left ``delay`` seconds ago or more and the next query waits as long, while fewer
  than ``max_batches`` are under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from libmpc.errors import ConflictError, LimitError, ServiceError, UnavailableError
from libmpc.link import Buffer
from libmpc.wire.headers import QueryHeader
from services.gateway.errors import RETRY_SECONDS, unreachable
from services.gateway.fair import FairQueue, Load
from services.gateway.flight import Flight
from services.gateway.links import PartyLink
from services.gateway.metrics import Metrics
from services.gateway.query import PendingQuery
from services.gateway.timers import Timer, Timers

EVALUATORS = (0, 1)
# A timer may ring this much before its time.
_MOMENT = 0.0005


@dataclass(frozen=True)
class BatchSettings:
    """Bounds of batching; ``GatewaySettings`` explains each."""

    queue: Load = Load(queries=1024, rows=1 << 16, bytes=1 << 30)
    batches: int = 2
    max_batches: int = 4
    delay: float = 0.02
    queries: int = 256
    rows: int = 128
    bytes: int = 16 << 20


class Batcher:
    """All models' queues.

    Args:
        links: to the three parties; queries go to the first two.

    Attributes:
        rows: samples that wait or are under way.
    """

    def __init__(
        self,
        links: Sequence[PartyLink],
        timers: Timers,
        settings: BatchSettings,
        metrics: Metrics,
    ) -> None:
        self.links = links
        self.timers = timers
        self.settings = settings
        self.metrics = metrics
        self.rows = 0
        self._queues: dict[str, ModelQueue] = {}
        self._closing = False
        self._empty = asyncio.Event()

    def submit(
        self,
        header: QueryHeader,
        envelopes: tuple[Buffer, Buffer],
        timeout: float,
        client: str = "",
    ) -> PendingQuery:
        """Take a query; its ``answer`` is a future of both evaluators' replies.

        Args:
            timeout: seconds from now until it fails with 503, wherever it is then.
            client: between whom the order is fair; the address of the sender.

        Raises:
            ConflictError: a query of that number is under way.
            LimitError: too many queries of its model, or of its model and client, wait.
            UnavailableError: an evaluator is not reachable, or the gateway is stopping.
        """
        if self._closing:
            raise _stopping()
        for party in EVALUATORS:
            if not self.links[party].up:
                raise unreachable(party)
        queue = self._queues.get(header.model)
        if queue is None:
            queue = self._queues[header.model] = ModelQueue(self, header.model)
        return queue.submit(header, envelopes, timeout, client)

    async def close(self, grace: float) -> None:
        """Take no more; what has not been answered after ``grace`` seconds fails with 503."""
        self._closing = True
        self._empty.clear()
        if self._queues:
            timer = self.timers.call_later(grace, self._empty.set)
            await self._empty.wait()
            timer.cancel()
        for queue in list(self._queues.values()):
            queue.fail(_stopping())

    def drop(self, model: str, queue: ModelQueue) -> None:
        """A queue has nothing to do any more."""
        if self._queues.get(model) is queue:
            del self._queues[model]
        if not self._queues:
            self._empty.set()

    def explain(self, error: ServiceError) -> ServiceError:
        """Name the dealer where an evaluator cannot go on and the dealer may be why."""
        if error.status != 503 or self.links[2].up:
            return error
        text = f"{error}; party 2 is not reachable"
        return ServiceError(text, status=503, retry_after=error.retry_after, code=error.code)


class ModelQueue:
    """One model's waiting queries and batches under way."""

    def __init__(self, batcher: Batcher, model: str) -> None:
        self._batcher = batcher
        self._model = model
        self._waiting = FairQueue(batcher.settings.queue)
        self._numbers: set[str] = set()
        self._flights: set[Flight] = set()
        self._timer: Timer | None = None
        self._since = 0.0  # when the batch that gathers began to

    def submit(
        self,
        header: QueryHeader,
        envelopes: tuple[Buffer, Buffer],
        timeout: float,
        client: str,
    ) -> PendingQuery:
        """As ``Batcher.submit``."""
        batcher = self._batcher
        if header.number in self._numbers:
            raise ConflictError("this query was sent before; seal a new one", status=409)
        if not self._waiting.has_room(client, header.batch, sum(map(len, envelopes))):
            raise LimitError(
                "too many queries of this model wait; try again later",
                status=429,
                retry_after=RETRY_SECONDS,
                code="queue_full",
            )
        self._numbers.add(header.number)
        query = PendingQuery(
            header,
            envelopes,
            batcher.timers,
            timeout,
            client=client,
            explain=batcher.explain,
            left=self._left,
        )
        if not self._waiting:
            self._since = query.since
        self._waiting.push(query)
        batcher.rows += header.batch
        batcher.metrics.waiting.inc()
        self._pump()
        return query

    def fail(self, error: ServiceError) -> None:
        """Fail all that has not been answered."""
        queries = [*self._waiting, *(q for flight in self._flights for q in flight.queries)]
        for query in queries:
            query.fail(error)

    def _left(self, query: PendingQuery) -> None:
        # One that gave up while it waited, or one of a batch that has been answered.
        self._numbers.discard(query.header.number)
        self._batcher.rows -= query.header.batch
        if not query.sent:
            self._waiting.give_up(query)
            self._batcher.metrics.waiting.dec()
            self._tidy()

    def _pump(self) -> None:
        while self._waiting and len(self._flights) < self._batcher.settings.max_batches:
            left = self._gather_seconds()
            if left > _MOMENT:
                self._arm(left)
                break
            self._launch(self._take())
        self._tidy()

    def _gather_seconds(self) -> float:
        """How long the batch that gathers may still wait for more queries."""
        settings, waiting = self._batcher.settings, self._waiting.load.rows
        if not self._flights:
            return 0.0
        enough = min(settings.rows, *(flight.rows for flight in self._flights))
        if len(self._flights) < settings.batches and waiting >= enough:
            return 0.0
        return self._since + settings.delay - self._batcher.timers.now()

    def _arm(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._batcher.timers.call_later(seconds, self._rung)

    def _rung(self) -> None:
        self._timer = None
        self._pump()

    def _take(self) -> list[PendingQuery]:
        settings, now = self._batcher.settings, self._batcher.timers.now()
        taken: list[PendingQuery] = []
        rows = size = 0
        while (query := self._waiting.first) is not None and len(taken) < settings.queries:
            rows += query.header.batch
            size += query.size
            if taken and (rows > settings.rows or size > settings.bytes):
                break
            query.sent, query.launched = True, now
            taken.append(self._waiting.pop())
        self._since = now
        self._batcher.metrics.waiting.dec(len(taken))
        return taken

    def _launch(self, queries: list[PendingQuery]) -> None:
        metrics = self._batcher.metrics
        metrics.batch.observe(len(queries))
        metrics.images.observe(sum(query.header.batch for query in queries))
        metrics.batches.inc()
        flight = Flight(self._model, queries, self._landed)
        self._flights.add(flight)
        flight.launch([self._batcher.links[party] for party in EVALUATORS], self._batcher.timers)

    def _landed(self, flight: Flight) -> None:
        self._flights.discard(flight)
        self._batcher.metrics.batches.dec()
        # Not from within the launch of another batch: that would recurse once a batch.
        asyncio.get_running_loop().call_soon(self._pump)

    def _tidy(self) -> None:
        if not self._waiting and not self._flights:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._batcher.drop(self._model, self)


def _stopping() -> UnavailableError:
    text = "the gateway is stopping; try again in a moment"
    return UnavailableError(text, status=503, retry_after=RETRY_SECONDS, code="stopping")

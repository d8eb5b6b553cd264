"""Waiting queries of one model: a fair order between clients, and bounds that leave them room."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.query import PendingQuery

#: clients whose last query has left and whose turn is remembered, while others wait
MAX_TAGS = 1024


@dataclass(frozen=True, slots=True)
class Load:
    """How much waits, or may wait at most."""

    queries: int = 0
    rows: int = 0
    bytes: int = 0

    def plus(self, query: PendingQuery, sign: int = 1) -> Load:
        """With one query more, or with one less where ``sign`` is -1."""
        return Load(
            self.queries + sign,
            self.rows + sign * query.header.batch,
            self.bytes + sign * query.size,
        )


class FairQueue:
    """Start-time fair queueing (Goyal, Vin, Cheng 1996), counted in samples.

    Every query has a start tag: the later of the queue's virtual time and the end of its client's
    query before. The least tag is next. So clients with equal needs get equal numbers of samples
    through, however many queries each of them has sent, and one client's leave in their order.

    The bound is a dynamic threshold (Choudhury and Hahne 1998): a client may hold as much as is
    still free, so one with a flood fills half of the queue and the next one finds room.
    """

    def __init__(self, limit: Load) -> None:
        self._limit = limit
        self.load = Load()
        self._held: dict[str, Load] = {}
        self._heap: list[tuple[int, int, PendingQuery]] = []
        self._order = itertools.count()
        self._virtual = 0
        self._ends: dict[str, int] = {}

    def __len__(self) -> int:
        return self.load.queries

    def __iter__(self) -> Iterator[PendingQuery]:
        return (query for *_, query in self._heap if not query.over)

    def has_room(self, client: str, rows: int, size: int) -> bool:
        """Whether one more query may wait; the first one may, however large it is."""
        load, limit, held = self.load, self._limit, self._held.get(client, _NOTHING)
        return not load.queries or (
            held.queries < limit.queries - load.queries
            and held.rows < limit.rows - load.rows
            and held.bytes < limit.bytes - load.bytes
            and load.rows + rows <= limit.rows
            and load.bytes + size <= limit.bytes
        )

    def push(self, query: PendingQuery) -> None:
        """Put a query in its place."""
        start = max(self._virtual, self._ends.get(query.client, 0))
        self._ends[query.client] = start + query.header.batch
        self._held[query.client] = self._held.get(query.client, _NOTHING).plus(query)
        self.load = self.load.plus(query)
        heapq.heappush(self._heap, (start, next(self._order), query))

    @property
    def first(self) -> PendingQuery | None:
        """The query that is next."""
        while self._heap and self._heap[0][2].over:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def pop(self) -> PendingQuery:
        """Take out the query that is next."""
        query = self.first
        assert query is not None
        self._virtual = heapq.heappop(self._heap)[0]
        self._less(query)
        return query

    def give_up(self, query: PendingQuery) -> None:
        """A query that waits is over: it will not be sent."""
        self._less(query)
        if len(self._heap) > 2 * self.load.queries + 64:
            self._heap = [entry for entry in self._heap if not entry[2].over]
            heapq.heapify(self._heap)

    def _less(self, query: PendingQuery) -> None:
        self.load = self.load.plus(query, -1)
        left = self._held.get(query.client, _NOTHING).plus(query, -1)
        if left.queries:
            self._held[query.client] = left
            return
        del self._held[query.client]
        if not self._held:
            self._virtual = 0
            self._ends.clear()
        elif len(self._ends) > 2 * len(self._held) + MAX_TAGS:
            self._ends = {client: self._ends[client] for client in self._held}


_NOTHING = Load()

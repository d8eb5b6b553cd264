"""A batch under way at both evaluators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from libmpc.errors import ServiceError
from libmpc.link import Buffer
from libmpc.party.framing import join
from libmpc.party.messages import Kind
from services.gateway.errors import bad_request, refused
from services.gateway.links import PartyLink, Session
from services.gateway.query import PendingQuery
from services.gateway.timers import Timers


class Flight:
    """Queries that were sent together; over when each of them is.

    Args:
        landed: called once, when it is over.

    Attributes:
        rows: samples of all queries.
    """

    def __init__(
        self, model: str, queries: Sequence[PendingQuery], landed: Callable[[Flight], None]
    ) -> None:
        self.queries = queries
        self.rows = sum(query.header.batch for query in queries)
        self._model = model
        self._landed = landed
        self._by_number = {bytes.fromhex(query.header.number): query for query in queries}
        self._left = len(queries)
        self._requests: list[tuple[Session, int]] = []

    def launch(self, links: Sequence[PartyLink], timers: Timers) -> None:
        """Send to both evaluators; what cannot be sent fails its queries."""
        deadline = max(query.deadline for query in self.queries)
        timeout_ms = max(1, round(1000 * (deadline - timers.now())))
        try:
            # Both links before the first message: half a batch helps nobody.
            sessions = [link.session for link in links]
            payloads = [self._payload(i, timeout_ms, s) for i, s in enumerate(sessions)]
            for party, session in enumerate(sessions):
                request = session.begin(Kind.BATCH, payloads[party], _Side(self, party))
                self._requests.append((session, request))
        except ServiceError as error:
            self.failed(error)
        for query in self.queries:
            query.follow(self._one_less)

    def replied(self, party: int, number: bytes, status: int, payload: Buffer) -> None:
        """An evaluator answered one query."""
        query = self._by_number.get(number)
        if query is None:
            return
        if status == 200:
            query.replied(party, payload)
        else:
            query.refused(refused(party, payload))

    def refused(self, error: ServiceError) -> None:
        """An evaluator refused the batch as a whole."""
        for query in self.queries:
            query.refused(error)

    def failed(self, error: ServiceError) -> None:
        """An evaluator is lost."""
        for query in self.queries:
            query.fail(error)

    def _payload(self, party: int, timeout_ms: int, session: Session) -> tuple[Buffer, ...]:
        # A ``Batch``, put together by hand: it all has been checked when it came in, and the
        # headers, which both evaluators get, are encoded only once.
        traced = session.takes_traces
        entries = b",".join(
            b'{"header":%b,"size":%d%b}'
            % (query.encoded, len(query.envelopes[party]), query.trace if traced else b"")
            for query in self.queries
        )
        head = b'{"model":"%b","timeout_ms":%d,"entries":[%b]}'
        document = head % (self._model.encode(), timeout_ms, entries)
        return join(document, *(query.envelopes[party] for query in self.queries))

    def _one_less(self, query: PendingQuery) -> None:
        self._left -= 1
        if self._left == 0:
            for session, request in self._requests:
                session.forget(request)
            self._landed(self)


class _Side:
    """What one evaluator says to the batch."""

    def __init__(self, flight: Flight, party: int) -> None:
        self._flight = flight
        self._party = party

    def on_response(self, status: int, payload: Buffer) -> None:
        if status == 200:
            error = bad_request(f"party {self._party} gave no proper answer", 503)
        else:
            error = refused(self._party, payload)
        self._flight.refused(error)

    def on_result(self, number: bytes, status: int, payload: Buffer) -> None:
        self._flight.replied(self._party, number, status, payload)

    def on_lost(self, error: ServiceError) -> None:
        self._flight.failed(error)

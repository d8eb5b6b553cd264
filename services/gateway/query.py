"""One query from when the gateway takes it until both replies are there, or one reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from libmpc.errors import ServiceError, UnavailableError
from libmpc.link import Buffer
from libmpc.wire.headers import QueryHeader
from services.common.exchange import current
from services.gateway.errors import RETRY_SECONDS, is_specific, most_specific
from services.gateway.timers import Timer, Timers

#: how long a vague refusal of one evaluator waits for a better one of the other
GRACE_SECONDS = 0.5
Replies = tuple[Buffer, Buffer]


class PendingQuery:
    """A query and what has become of it.

    Args:
        timeout: seconds from now until it fails.
        client: who sent it, as far as fairness goes.
        explain: may add to an error before it is shown.
        left: called once when the query needs nothing more, for whatever reason.

    Attributes:
        encoded: the header as JSON.
        trace: the field that names its trace, for a party that knows it; empty if it has none.
        answer: both sealed replies, or a ServiceError.
        since: when it was taken.
        launched: when it was sent.
        deadline: when it fails.
        sent: whether it has left the queue.
        over: whether it needs nothing more.
    """

    def __init__(
        self,
        header: QueryHeader,
        envelopes: tuple[Buffer, Buffer],
        timers: Timers,
        timeout: float,
        *,
        client: str,
        explain: Callable[[ServiceError], ServiceError],
        left: Callable[[PendingQuery], None],
    ) -> None:
        self.header = header
        self.client = client
        self.envelopes = envelopes
        trace = current().trace
        self.trace = b',"trace":"%b"' % trace.encode() if trace else b""
        self.encoded = header.model_dump_json().encode()
        self.size = sum(map(len, envelopes))
        self.since = self.launched = timers.now()
        self.deadline = self.since + timeout
        self.answer: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self.sent = False
        self.over = False
        self._timers = timers
        self._explain = explain
        self._left = [left]
        self._replies: dict[int, Buffer] = {}
        self._errors: list[ServiceError] = []
        self._grace: Timer | None = None
        self._timer = timers.call_later(timeout, lambda: self._late(timeout))

    def follow(self, left: Callable[[PendingQuery], None]) -> None:
        """Call ``left`` as well; at once, if the query is over."""
        if self.over:
            left(self)
        else:
            self._left.append(left)

    def replied(self, party: int, reply: Buffer) -> None:
        """An evaluator's sealed reply is there."""
        self._replies[party] = reply
        if len(self._replies) == 2 and not self.over:
            if not self.answer.done():
                self.answer.set_result((self._replies[0], self._replies[1]))
            self._end()
        else:
            self._conclude()

    def refused(self, error: ServiceError) -> None:
        """An evaluator will not answer."""
        self._errors.append(error)
        self._conclude()

    def fail(self, error: ServiceError) -> None:
        """Give up now."""
        if self.over:
            return
        if not self.answer.done():
            self.answer.set_exception(self._explain(error))
        self._end()

    def abandon(self) -> None:
        """Nobody waits for the answer any more: a query that was not sent yet never will be."""
        self.answer.cancel()
        if not self.sent and not self.over:
            self._end()

    def _conclude(self) -> None:
        if self.over or not self._errors:
            return
        best = most_specific(self._errors)
        if is_specific(best) or len(self._errors) + len(self._replies) == 2:
            self.fail(best)
        elif self._grace is None:
            self._grace = self._timers.call_later(GRACE_SECONDS, lambda: self.fail(best))

    def _late(self, seconds: float) -> None:
        text = f"no answer within {seconds:g} s; try again"
        self.fail(UnavailableError(text, status=503, retry_after=RETRY_SECONDS, code="late"))

    def _end(self) -> None:
        self.over = True
        self.envelopes = (b"", b"")
        self._timer.cancel()
        if self._grace is not None:
            self._grace.cancel()
        for left in self._left:
            left(self)
        self._left.clear()

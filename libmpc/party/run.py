"""One run at an evaluator: a bundle, the rows it is spent on, and the frames of its rounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import LibmpcError, UnavailableError
from libmpc.link import Buffer
from libmpc.meters import Histogram
from libmpc.party.entry import Entry
from libmpc.party.messages import RunHeader, Slice
from libmpc.party.queries import Query
from libmpc.protocol.exchange import round_tag
from libmpc.wire.context import context, sha256

log = logging.getLogger(__name__)

LADDER = (1, 8, 32, 128)
_TAGS_PER_STEP = round_tag(1, 0)

#: the one thing that is said of a run that ended early, whatever the reason
ENDED = "the run ended before its result; try again"

SendRound = Callable[[int, int, Buffer], Awaitable[None]]


class RunAborted(LibmpcError):
    """The run is over without a result. ``refused`` are queries that the peer will not compute."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        super().__init__(ENDED)
        self.refused = tuple(refused)


def compose(rows: int, ladder: Sequence[int] = LADDER, run_rows: float = 4.0) -> list[int]:
    """The rungs that ``rows`` rows are spread over, the largest first: a few runs, little padding.

    Args:
        run_rows: what a run costs by itself (its rounds), in rows.

    >>> compose(300), compose(20), compose(3), compose(2), compose(3, run_rows=0.5)
    ([128, 128, 32, 8, 8], [32], [8], [1, 1], [1, 1, 1])
    """
    full, left = divmod(rows, ladder[-1])
    return [ladder[-1]] * full + _cheapest(left, ladder, run_rows)


def _cheapest(rows: int, ladder: Sequence[int], run_rows: float) -> list[int]:
    if rows == 0:
        return []
    one = [next(rung for rung in ladder if rung >= rows)]
    below = max((rung for rung in ladder if rung < rows), default=0)
    if not below:
        return one
    several = [below, *_cheapest(rows - below, ladder, run_rows)]
    return min(one, several, key=lambda rungs: sum(rungs) + run_rows * len(rungs))


@dataclass(frozen=True)
class Part:
    """Rows ``start`` to ``stop`` of a query."""

    query: Query
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def to_slice(self) -> Slice:
        return Slice(
            query=self.query.number,
            start=self.start,
            stop=self.stop,
            tag_check=tag_check(self.query),
        )


def tag_check(query: Query) -> str:
    """Lets the evaluators find out which query's two envelopes do not belong together."""
    return sha256(context("tag check", bytes.fromhex(query.number), query.tag)).hex()


def cut(
    queries: Sequence[Query], ladder: Sequence[int] = LADDER, run_rows: float = 4.0
) -> list[tuple[int, list[Part]]]:
    """Spread the rows of all queries, in order, over runs, as ``compose``: (rung, parts) each."""
    parts = [Part(q, 0, q.rows) for q in queries]
    runs = []
    for rung in compose(sum(p.rows for p in parts), ladder, run_rows):
        room, here = rung, []
        while room and parts:
            head = parts.pop(0)
            take = min(room, head.rows)
            here.append(Part(head.query, head.start, head.start + take))
            if take < head.rows:
                parts.insert(0, Part(head.query, head.start + take, head.stop))
            room -= take
        runs.append((rung, here))
    return runs


def stack(parts: Sequence[Part], rung: int) -> NDArray[np.uint64]:
    """The evaluator's input shares of all parts; rows that nobody asked for are zero."""
    shape = parts[0].query.x.shape[1:]
    x = np.zeros((rung, *shape), np.uint64)
    row = 0
    for part in parts:
        x[row : row + part.rows] = part.query.x[part.start : part.stop]
        row += part.rows
    return x


def run_digest(epoch: bytes, bundle: int, entry: Entry, rung: int, parts: Sequence[Part]) -> bytes:
    """What both evaluators and the client must agree on about a run (32 bytes)."""
    # SECURITY: the tags, which each client put into both its envelopes, bind the two halves of
    # every query together; a gateway that mixes halves cannot make the digests equal.
    fields = [epoch, bundle.to_bytes(8), bytes.fromhex(entry.record.model)]
    fields += [entry.plan.digest, entry.sharing, rung.to_bytes(4)]
    for part in parts:
        rows = part.start.to_bytes(4) + part.stop.to_bytes(4)
        fields += [bytes.fromhex(part.query.number), part.query.tag, rows]
    return sha256(context("run", *fields))


def reply_digest(query: Query) -> bytes:
    """The digest over all runs that a query's rows took part in."""
    fields: list[bytes] = []
    for (start, stop), run in sorted(query.digests.items()):
        fields += [start.to_bytes(4) + stop.to_bytes(4), run]
    return sha256(context("reply", *fields))


@dataclass(eq=False)
class Run:
    """The frames of one run. A step is sent once and accepted once, ever.

    Args:
        bundle: the bundle's number.
        header: what the run is for.
        send: sends one round's frame to the other evaluator.
        timeout: seconds to wait for the other evaluator's frame of a round.
        allowance: by step, seconds more for the peer's work before it.
        first_allowance: seconds more for the first round.
        on_abort: called when the run is aborted.
        rounds: counts how long each round took.
    """

    bundle: int
    header: RunHeader
    send: SendRound
    timeout: float
    allowance: Sequence[float] = ()
    first_allowance: float = 0.0
    on_abort: Callable[[LibmpcError], None] | None = field(default=None, repr=False)
    rounds: Histogram = field(default_factory=Histogram, repr=False)
    _sent: set[int] = field(default_factory=set, repr=False)
    _received: set[int] = field(default_factory=set, repr=False)
    _frames: dict[int, asyncio.Future[Buffer]] = field(default_factory=dict, repr=False)
    _agreed: asyncio.Future[str] | None = field(default=None, repr=False)
    _error: LibmpcError | None = None

    def expect_agreement(self) -> None:
        """Party 0: let the first round end only when party 1 has named the same digest."""
        self._agreed = asyncio.get_running_loop().create_future()

    def agree(self, digest: str) -> None:
        if self._agreed is not None and not self._agreed.done():
            self._agreed.set_result(digest)

    async def exchange(self, tag: int, payload: Buffer) -> Buffer:
        """One round: send our masked values and wait for the peer's of the same tag."""
        # SECURITY: sending a step twice under the same masks gives one evaluator the weights.
        if tag in self._sent:
            raise RunAborted
        self._sent.add(tag)
        began = perf_counter()
        await self.send(self.bundle, tag, payload)
        seconds = self._seconds(tag)
        try:
            async with asyncio.timeout(seconds):
                if self._agreed is not None:
                    # SECURITY: on a mismatch nothing more is sent.
                    if await self._agreed != self.header.digest:
                        raise RunAborted
                    self._agreed = None
                frame = await self._frame(tag)
        except TimeoutError:
            step = tag // _TAGS_PER_STEP
            log.warning(
                "bundle %d: no message of step %d within %.1f s", self.bundle, step, seconds
            )
            raise RunAborted from None
        self.rounds.since(began)
        del self._frames[tag]  # all of them together may be large
        return frame

    def _seconds(self, tag: int) -> float:
        step = tag // _TAGS_PER_STEP
        more = self.allowance[step] if step < len(self.allowance) else 0.0
        return self.timeout + more + (self.first_allowance if len(self._sent) == 1 else 0.0)

    def receive(self, tag: int, payload: Buffer) -> None:
        """A frame of the peer. A second one for the same round ends the run."""
        if tag in self._received:
            self.abort(RunAborted())
            return
        self._received.add(tag)
        frame = self._frame(tag)
        if not frame.done():
            frame.set_result(payload)

    def abort(self, error: LibmpcError) -> None:
        """Wake whoever waits for a frame, now or later."""
        self._error = error
        if self.on_abort is not None:
            self.on_abort(error)
        for frame in self._frames.values():
            _fail(frame, error)
        if self._agreed is not None:
            _fail(self._agreed, error)

    def _frame(self, tag: int) -> asyncio.Future[Buffer]:
        future = self._frames.get(tag)
        if future is None:
            future = self._frames[tag] = asyncio.get_running_loop().create_future()
            if self._error is not None:
                _fail(future, self._error)
        return future


def _fail(future: asyncio.Future[Any], error: LibmpcError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody need be waiting


def unavailable() -> UnavailableError:
    """The error that a gateway hears of a run that ended early."""
    return UnavailableError(ENDED, status=503, retry_after=1)

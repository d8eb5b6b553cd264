"""Queries at an evaluator, from when they are opened until the reply leaves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import LibmpcError, LimitError, UnavailableError
from libmpc.party.entry import Entry
from libmpc.party.tally import Tally
from libmpc.ring import MASK
from libmpc.tracing import QuerySpan
from libmpc.wire.evaluation import Evaluation


@dataclass(eq=False, kw_only=True)
class Pending:
    """Something that was sealed for this evaluator, and its reply."""

    number: str  # hex
    entry: Entry = field(repr=False)
    reply_key: bytes = field(repr=False)
    done: asyncio.Future[bytes] = field(repr=False)  # the sealed reply, or why there is none
    counted: bool = False  # the model's count has it, or it is none of the model's requests

    def reply(self, envelope: bytes) -> None:
        if not self.done.done():
            self.done.set_result(envelope)

    def fail(self, error: LibmpcError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False, kw_only=True)
class Query(Pending):
    """One opened query at one evaluator."""

    x: NDArray[np.uint64] = field(repr=False)  # our additive share: (batch, *input shape)
    tag: bytes = field(repr=False)
    labels: NDArray[np.uint64] | None = field(default=None, repr=False)  # XOR: (batch, width)
    y: NDArray[np.uint64] = field(init=False, repr=False)  # our share of the logits, row by row
    digests: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False)
    released: bool = False  # its reply is about to leave: nothing may compute it again
    opened: float = field(default_factory=perf_counter, repr=False)
    trace: QuerySpan | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.y = np.zeros((len(self.x), *self.entry.plan.output_shape), np.uint64)

    @property
    def rows(self) -> int:
        return len(self.x)

    @property
    def complete(self) -> bool:
        return sum(stop - start for start, stop in self.digests) == self.rows

    def keep(self, start: int, stop: int, y: NDArray[np.uint64], digest: bytes) -> None:
        """Store the result of one run's slice."""
        self.y[start:stop] = y
        self.digests[(start, stop)] = digest


@dataclass(eq=False, kw_only=True)
class Part(Query):
    """A part of an evaluation: of what its rows are answered with, only the sum is kept."""

    evaluation: Evaluation
    index: int
    tally: Tally = field(init=False, repr=False)  # since it was let in
    _sums: dict[tuple[int, int], NDArray[np.uint64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """No room for rows."""

    @property
    def complete(self) -> bool:
        # Every row once: a row that counted twice would be told apart from the others.
        row = 0
        for start, stop in sorted(self.digests):
            if start != row:
                return False
            row = stop
        return row == self.rows

    def keep(self, start: int, stop: int, y: NDArray[np.uint64], digest: bytes) -> None:
        """Store the sum of one run's slice."""
        self._sums[(start, stop)] = y.sum(axis=0, dtype=np.uint64) & MASK
        self.digests[(start, stop)] = digest

    @property
    def total(self) -> NDArray[np.uint64]:
        """Our share of the sum over all rows."""
        total: NDArray[np.uint64] = np.sum(list(self._sums.values()), axis=0, dtype=np.uint64)
        return total & MASK


@dataclass(eq=False, kw_only=True)
class Collect(Pending):
    """A request for an evaluation's sum.

    Attributes:
        parts: of each part, the number of the query that has it.
    """

    evaluation: Evaluation
    parts: tuple[bytes, ...] = field(repr=False)
    tally: Tally = field(init=False, repr=False)


class Admission:
    """Which queries a model may still take: served ones and those in flight, against its limit.

    Args:
        replica: whether this process is one of triple 1 or more.
    """

    def __init__(self, replica: bool = False) -> None:
        self._replica = replica
        self._in_flight: dict[str, int] = {}

    def check_served(self, entry: Entry) -> None:
        """Whether the model answers at all.

        Raises:
            UnavailableError: it is stopped, or this is not where it answers.
        """
        # SECURITY: a limit is one durable number in an evaluator's records. Here would be another
        # one, and each triple would give the limit's answers once more.
        if self._replica and entry.record.num_requests is not None:
            raise UnavailableError(
                f"model {entry.record.name!r} has a limit of requests, which triple 0 counts: it"
                " answers there only",
                status=503,
                code="not_here",
            )
        if not entry.record.serving:
            raise UnavailableError(
                f"model {entry.record.name!r} is not ready: it is stopped",
                status=503,
                retry_after=5,
            )

    def check(self, entry: Entry, in_flight: int = 0) -> None:
        """Whether there is a request left, beside those in flight.

        Raises:
            UnavailableError: as ``check_served``.
            LimitError: its requests are used up.
        """
        self.check_served(entry)
        record = entry.record
        taken = record.served + in_flight
        if record.num_requests is not None and taken >= record.num_requests:
            raise LimitError(
                f"model {record.name!r} has used up its {record.num_requests} requests;"
                " its owner can serve it again",
                status=429,
            )

    def admit(self, entry: Entry) -> None:
        """Reserve one request.

        Raises:
            UnavailableError, LimitError: as ``check``.
        """
        in_flight = self._in_flight.get(entry.record.model, 0)
        self.check(entry, in_flight)
        self._in_flight[entry.record.model] = in_flight + 1

    def leave(self, model: str) -> None:
        """The reservation ends: the request was counted or has failed."""
        left = self._in_flight[model] - 1
        if left:
            self._in_flight[model] = left
        else:
            del self._in_flight[model]

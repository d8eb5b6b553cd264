"""What a run at an evaluator is spent on: the rows of queries, and what names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import LibmpcError, UnavailableError
from libmpc.party.entry import Entry
from libmpc.party.messages import Slice
from libmpc.party.queries import Query
from libmpc.runtime.ladder import LADDER, compose
from libmpc.wire.context import context, sha256

#: the one thing that is said of a run that ended early, whatever the reason
ENDED = "the run ended before its result; try again"


class RunAborted(LibmpcError):
    """The run is over without a result. ``refused`` are queries that the peer will not compute."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        super().__init__(ENDED)
        self.refused = tuple(refused)


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


def stack_labels(parts: Sequence[Part], rung: int, width: int) -> NDArray[np.uint64]:
    """The evaluator's shares of all parts' labels, (rung, width); where there is no row, zero."""
    labels = np.zeros((rung, width), np.uint64)
    row = 0
    for part in parts:
        assert part.query.labels is not None
        labels[row : row + part.rows] = part.query.labels[part.start : part.stop]
        row += part.rows
    return labels


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


def unavailable() -> UnavailableError:
    """The error that a gateway hears of a run that ended early."""
    return UnavailableError(ENDED, status=503, retry_after=1)

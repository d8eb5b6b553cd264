"""The spans of queries at an evaluator, from when their batch comes until their replies leave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from libmpc.party.catalog import Catalog
from libmpc.party.messages import Batch
from libmpc.tracing import QuerySpan, Tracing, outcome_of


class QueryTraces:
    """Spans by query number.

    Args:
        tracing: ``None``: there are none.
        catalog: knows the models' names.
    """

    def __init__(self, tracing: Tracing | None, catalog: Catalog) -> None:
        self._tracing = tracing
        self._catalog = catalog
        self._spans: dict[str, QuerySpan] = {}

    def begin(self, batch: Batch, replies: Sequence[asyncio.Future[bytes]]) -> None:
        """Begin the spans of those queries that the gateway traces; each ends with its reply."""
        if self._tracing is None:
            return
        stored = self._catalog.entries.get(batch.model)
        for entry, reply in zip(batch.entries, replies, strict=True):
            number = entry.header.number
            if entry.trace is None or number in self._spans:
                continue
            span = self._spans[number] = self._tracing.serve("libmpc.party.query", entry.trace)
            if stored is not None:
                name, rows = stored.record.name, entry.header.batch
                span.about(model=name, digest=batch.model, batch=rows)
            reply.add_done_callback(partial(self._end, number))

    def of(self, number: str) -> QuerySpan | None:
        """The span of a query, if it has one."""
        return self._spans.get(number)

    def _end(self, number: str, reply: asyncio.Future[bytes]) -> None:
        gone = reply.cancelled()
        self._spans.pop(number).end("disconnected" if gone else outcome_of(reply.exception()))

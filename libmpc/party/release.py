"""The last step: count a request durably, then seal this evaluator's half for the client."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from time import perf_counter

from libmpc.errors import LibmpcError, UnavailableError
from libmpc.failure import describe
from libmpc.party.catalog import Catalog
from libmpc.party.evaluations import Evaluations
from libmpc.party.meters import Meters
from libmpc.party.queries import Admission, Collect, Part, Pending, Query
from libmpc.party.run import reply_digest
from libmpc.party.store import Period, Store
from libmpc.ring import pack
from libmpc.sealing.seal import seal
from libmpc.wire.envelope import ReplyPlaintext
from libmpc.wire.evaluation import evaluation_info
from libmpc.wire.headers import reply_info

log = logging.getLogger(__name__)

#: how long counts of models without a limit may wait, to share one flush to disk
FLUSH_SECONDS = 0.5


class Releaser:
    """Counts and seals.

    Args:
        index: 0 or 1.
        deployment: the deployment's id.
        lock: serialises changes of the catalog.
        meters: what this party counts.
    """

    def __init__(
        self,
        index: int,
        deployment: bytes,
        *,
        catalog: Catalog,
        store: Store,
        admission: Admission,
        evaluations: Evaluations,
        lock: asyncio.Lock,
        meters: Meters,
    ) -> None:
        self._meters = meters
        self._index = index
        self._deployment = deployment
        self._catalog = catalog
        self._store = store
        self._admission = admission
        self._evaluations = evaluations
        self._lock = lock
        self._soon: asyncio.Task[None] | None = None
        self._limited: list[tuple[Period, asyncio.Future[None]]] = []
        self._unlimited: Counter[Period] = Counter()

    async def release(self, query: Query) -> None:
        """Let a complete query's reply leave, or fail it."""
        try:
            if isinstance(query, Part):
                # SECURITY: its sum stays here; all that leaves is which computation it was.
                self._evaluations.add(query)
                share = bytearray()
            else:
                await self._count(query)
                share = pack(query.y)
            began = perf_counter()
            info = reply_info(self._deployment, query.entry.record.model, self._index, query.number)
            plain = ReplyPlaintext(reply_digest(query), share).encode()
            query.reply(seal(query.reply_key, info, plain))
            self._meters.sealing.since(began)
            if query.trace is not None:
                query.trace.phase("seal", began, perf_counter())
        except LibmpcError as error:
            query.fail(error)

    async def collect(self, request: Collect) -> None:
        """Let an evaluation's sum leave: counted once, and the same bytes whenever asked again."""
        tally = request.tally
        try:
            async with tally.turn:
                sealed = tally.answer(request.parts)
                if sealed is None:
                    digest, sums = tally.total(request.parts)
                    await self._count(request)
                    number = tally.evaluation.number
                    info = evaluation_info(self._deployment, tally.model, self._index, number)
                    plain = ReplyPlaintext(digest, pack(sums)).encode()
                    sealed = seal(tally.reply_key, info, plain)
                    tally.close(request.parts, sealed)
                request.reply(sealed)
        except LibmpcError as error:
            request.fail(error)

    async def _count(self, query: Pending) -> None:
        admitted = query.entry.record
        entry = self._catalog.entries.get(admitted.model)
        if entry is None or not entry.record.serving:
            raise UnavailableError("the model was stopped", status=503, retry_after=5)
        if entry.record.period != admitted.period:
            raise UnavailableError("the model was served anew meanwhile", status=503, retry_after=0)
        if entry.record.num_requests is None:
            # Counted for information only: that may wait for the next group.
            self._unlimited[admitted.period] += 1
            self._soon = self._soon or asyncio.ensure_future(self._flush_soon())
            return
        # SECURITY: durable before the reply leaves, so that no crash gives a request away; the
        # reservation ends in the same step in which the count shows.
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._limited.append((admitted.period, done))
        query.counted = True
        began = perf_counter()
        await self.flush()
        await done
        self._meters.counting.since(began)

    async def flush(self) -> None:
        """Make all counts durable, in one transaction: a flush to disk costs milliseconds."""
        async with self._lock:
            group, self._limited = self._limited, []
            counts, self._unlimited = self._unlimited, Counter()
            counts.update(period for period, _ in group)
            if not counts:
                return
            error: Exception | None = None
            try:
                await asyncio.to_thread(self._store.add_served, counts)
            except Exception as failure:  # noqa: BLE001 - whatever it was, nothing was counted
                log.error("requests could not be counted: %s", describe(failure))
                error = UnavailableError("a count could not be stored", status=503)
            else:
                self._catalog.counted(counts)
            for (model, _), done in group:
                self._admission.leave(model)
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS)
        self._soon = None
        await self.flush()

    async def close(self) -> None:
        """Store what is not stored yet."""
        if self._soon is not None:
            self._soon.cancel()
        await self.flush()

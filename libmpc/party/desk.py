"""Where an evaluator's queries are taken in, found by runs, and answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import NamedTuple

from libmpc.clock import Clock
from libmpc.errors import ConflictError, LibmpcError, UnavailableError
from libmpc.failure import describe
from libmpc.party.catalog import Catalog
from libmpc.party.entry import Entry
from libmpc.party.evaluations import Evaluations
from libmpc.party.intake import Intake
from libmpc.party.messages import Batch
from libmpc.party.meters import Meters
from libmpc.party.queries import Admission, Collect, Part, Pending, Query
from libmpc.party.release import Releaser
from libmpc.party.run import unavailable
from libmpc.party.store import Store
from libmpc.party.traces import QueryTraces
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.tracing import Tracing
from libmpc.wire.headers import QueryHeader

log = logging.getLogger(__name__)

#: how long party 1 waits for an envelope of a query that party 0 already has
ARRIVAL_SECONDS = 2.0
#: how long it is remembered that a query came to nothing
MEMORY_SECONDS = 60.0
#: envelopes above this are opened in a thread
SHORT_BYTES = 1 << 18

Submit = Callable[[Sequence[Query]], None]


class _Sealed(NamedTuple):
    """One query of a batch, as it came."""

    header: QueryHeader
    envelope: memoryview
    reply: asyncio.Future[bytes]


_Admitted = tuple[Entry, _Sealed]
_Opened = Query | Collect | Exception


class QueryDesk:
    """Takes batches from gateways; outlives epochs.

    Args:
        index: 0 or 1 (party 2 has no use for one).
        deployment: the deployment's id.
        lock: serialises changes of the catalog.
        failed: told of every query that came to nothing here.
        meters: what this party counts.
        replica: whether this is a triple that answers without limits only.
        tracing: makes spans of queries that the gateway traces; ``None``: nothing is traced.
    """

    def __init__(
        self,
        index: int,
        deployment: bytes,
        catalog: Catalog,
        store: Store,
        keys: HpkeKeys,
        clock: Clock,
        lock: asyncio.Lock,
        failed: Callable[[str], None],
        meters: Meters,
        replica: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        self._index = index
        self._meters = meters
        self._traces = QueryTraces(tracing, catalog)
        self._failed = failed
        self._catalog = catalog
        self._intake = Intake(index, deployment, keys, clock, catalog.variants)
        self._admission = Admission(replica)
        self.evaluations = Evaluations(clock)
        self._releaser = Releaser(
            index,
            deployment,
            catalog=catalog,
            store=store,
            admission=self._admission,
            evaluations=self.evaluations,
            lock=lock,
            meters=meters,
        )
        self._known: dict[str, Query | None] = {}  # None: it came to nothing
        self._awaited: dict[str, set[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(
        self, batch: Batch, envelopes: Sequence[memoryview], submit: Submit
    ) -> list[tuple[QueryHeader, asyncio.Future[bytes]]]:
        """Claim and open a batch, hand what is good to ``submit``; the replies come later."""
        loop = asyncio.get_running_loop()
        headers = [entry.header for entry in batch.entries]
        replies: list[asyncio.Future[bytes]] = [loop.create_future() for _ in headers]
        self._traces.begin(batch, replies)
        admitted = []
        for item in map(_Sealed, headers, envelopes, replies):
            try:
                admitted.append((self._admit(batch, item.header), item))
            except Exception as error:  # noqa: BLE001 - nobody may wait for a reply in vain
                self._reject(item, error)
        if all(len(item.envelope) <= SHORT_BYTES for _, item in admitted):
            opened = []
            for entry, item in admitted:
                began = perf_counter()
                opened.append(self._open(entry, item))
                self._opened(item, began)
            self._submit(batch, admitted, opened, submit)
        else:
            self._spawn(self._take_long(batch, admitted, submit))
        return list(zip(headers, replies, strict=True))

    async def _take_long(self, batch: Batch, admitted: Sequence[_Admitted], submit: Submit) -> None:
        opened = []
        for entry, item in admitted:
            began = perf_counter()
            opened.append(await asyncio.to_thread(self._open, entry, item))
            self._opened(item, began)
        self._submit(batch, admitted, opened, submit)

    def _opened(self, item: _Sealed, began: float) -> None:
        self._meters.opening.since(began)
        if (span := self._traces.of(item.header.number)) is not None:
            span.phase("open", began, perf_counter())

    def _admit(self, batch: Batch, header: QueryHeader) -> Entry:
        entry = self._catalog.entries.get(batch.model)
        if batch.model in self._catalog.damaged:
            raise UnavailableError(
                f"the model's share is damaged at party {self._index}; its owner can push it again",
                status=503,
            )
        if entry is None or header.model != batch.model:
            raise ConflictError("the model was replaced or deleted; fetch it again", status=409)
        self._intake.check(entry, header)
        self._intake.claim(header)
        self._admission.check_served(entry)
        return entry

    def _open(self, entry: Entry, item: _Sealed) -> _Opened:
        """In whatever thread."""
        try:
            return self._intake.open(entry, item.header, item.envelope, item.reply)
        except Exception as error:  # noqa: BLE001 - given to ``_reject``
            return error

    def _submit(
        self,
        batch: Batch,
        admitted: Sequence[_Admitted],
        opened: Sequence[_Opened],
        submit: Submit,
    ) -> None:
        ready = []
        for (entry, item), query in zip(admitted, opened, strict=True):
            try:
                self._let_in(entry, query)
            except Exception as error:  # noqa: BLE001 - as in ``take``
                self._reject(item, error)
                continue
            assert not isinstance(query, Exception)
            if isinstance(query, Query):
                query.trace = self._traces.of(query.number)
            self._follow(query, entry, batch.timeout_ms / 1000)
            if isinstance(query, Collect):
                self._spawn(self._releaser.collect(query))
            else:
                ready.append(query)
        if ready:
            submit(ready)

    def _let_in(self, entry: Entry, query: _Opened) -> None:
        if isinstance(query, Exception):
            raise query
        # What was in flight may have been counted while this one was opened.
        entry = self._catalog.entries.get(entry.record.model, entry)
        if isinstance(query, Part):
            # An evaluation is one request, counted when its sum leaves.
            self._admission.check(entry)
            self.evaluations.join(query)
            query.counted = True
            return
        if isinstance(query, Collect):
            self.evaluations.join(query)
            if query.tally.sealed is not None:  # counted before, and asked for again
                query.counted = True
                return
        self._admission.admit(entry)

    def _reject(self, item: _Sealed, error: Exception) -> None:
        if not isinstance(error, LibmpcError):
            log.error("a query could not be opened: %s", describe(error))
            error = UnavailableError("an internal error", status=503)
        if not item.reply.done():  # else the gateway has gone meanwhile
            item.reply.set_exception(error)
        self._settle(item.header.number, None)
        self._failed(item.header.number)

    def _follow(self, query: Pending, entry: Entry, timeout: float) -> None:
        late = UnavailableError(
            "the query's time is up; try again, or give it a longer timeout",
            status=503,
            retry_after=1,
        )
        timer = asyncio.get_running_loop().call_later(timeout, query.fail, late)

        def finish(reply: asyncio.Future[bytes]) -> None:
            timer.cancel()
            if not query.counted:
                self._admission.leave(entry.record.model)
            self._settle(query.number, None)
            if reply.cancelled() or reply.exception() is not None:
                self._failed(query.number)

        query.done.add_done_callback(finish)
        if isinstance(query, Query):  # nothing is to be run for a sum
            self._settle(query.number, query)

    def _settle(self, number: str, query: Query | None) -> None:
        self._known[number] = query
        for waiting in self._awaited.pop(number, ()):
            if not waiting.done():
                waiting.set_result(None)
        if query is None:
            loop = asyncio.get_running_loop()
            loop.call_later(MEMORY_SECONDS, self._known.pop, number, None)

    def knows(self, number: str) -> bool:
        """Whether a query has come here, whatever has become of it."""
        return number in self._known

    def found(self, number: str) -> Query | None:
        """A query that can be computed; else ``None``."""
        return self._known.get(number)

    async def find(self, number: str) -> None:
        """Wait a moment for a query's envelope."""
        if number in self._known:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._awaited.setdefault(number, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                await future
        except TimeoutError:
            pass
        finally:
            waiting.discard(future)
            if not waiting and self._awaited.get(number) is waiting:
                del self._awaited[number]

    def dismiss(self, number: str) -> None:
        """The other evaluator has given up on a query: do not let it wait here for its deadline."""
        query = self._known.get(number)
        if query is None:
            self._settle(number, None)
        elif not query.released:
            query.fail(unavailable())

    def end_epoch(self) -> None:
        """Nothing that waits for a run can get one any more."""
        for query in list(self._known.values()):
            if query is not None and not query.released:
                query.fail(unavailable())

    def release(self, query: Query) -> None:
        """Let a complete query's reply leave."""
        self._spawn(self._releaser.release(query))

    async def close(self) -> None:
        """Store the counts that are not stored yet."""
        await self._releaser.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

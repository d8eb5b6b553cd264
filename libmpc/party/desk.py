"""Where an evaluator's queries are taken in, found by runs, and answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import perf_counter

from libmpc.clock import Clock
from libmpc.errors import ConflictError, LibmpcError, UnavailableError
from libmpc.failure import describe
from libmpc.party.catalog import Catalog
from libmpc.party.entry import Entry
from libmpc.party.messages import Batch
from libmpc.party.meters import Meters
from libmpc.party.queries import Admission, Intake, Query
from libmpc.party.release import Releaser
from libmpc.party.run import unavailable
from libmpc.party.store import Store
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire.headers import QueryHeader

log = logging.getLogger(__name__)

#: how long party 1 waits for an envelope of a query that party 0 already has
ARRIVAL_SECONDS = 2.0
#: how long it is remembered that a query came to nothing
MEMORY_SECONDS = 60.0
#: envelopes above this are opened in a thread
SHORT_BYTES = 1 << 18

Submit = Callable[[Sequence[Query]], None]


class QueryDesk:
    """Takes batches from gateways; outlives epochs.

    Args:
        index: 0 or 1 (party 2 has no use for one).
        deployment: the deployment's id.
        lock: serialises changes of the catalog.
        failed: told of every query that came to nothing here.
        meters: what this party counts.
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
    ) -> None:
        self._index = index
        self._meters = meters
        self._failed = failed
        self._catalog = catalog
        self._intake = Intake(index, deployment, keys, clock)
        self._admission = Admission()
        self._releaser = Releaser(
            index,
            deployment,
            catalog=catalog,
            store=store,
            admission=self._admission,
            lock=lock,
            meters=meters,
        )
        self._known: dict[str, Query | None] = {}  # None: it came to nothing
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(
        self, batch: Batch, envelopes: Sequence[memoryview], submit: Submit
    ) -> list[tuple[QueryHeader, Awaitable[bytes]]]:
        """Claim and open a batch, hand what is good to ``submit``; the replies come later."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[bytes]] = [loop.create_future() for _ in batch.entries]
        headers = [entry.header for entry in batch.entries]
        self._spawn(self._take(batch, headers, envelopes, replies, submit))
        return list(zip(headers, replies, strict=True))

    async def _take(
        self,
        batch: Batch,
        headers: Sequence[QueryHeader],
        envelopes: Sequence[memoryview],
        replies: Sequence[asyncio.Future[bytes]],
        submit: Submit,
    ) -> None:
        ready = []
        for header, envelope, reply in zip(headers, envelopes, replies, strict=True):
            try:
                ready.append(await self._open(batch, header, envelope, reply))
            except LibmpcError as error:
                reply.set_exception(error)
                self._settle(header.number, None)
                self._failed(header.number)
            except Exception as error:  # noqa: BLE001 - nobody may wait for a reply in vain
                log.error("a query could not be opened: %s", describe(error))
                reply.set_exception(UnavailableError("an internal error", status=503))
                self._settle(header.number, None)
                self._failed(header.number)
        if ready:
            submit(ready)

    async def _open(
        self,
        batch: Batch,
        header: QueryHeader,
        envelope: memoryview,
        reply: asyncio.Future[bytes],
    ) -> Query:
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
        self._admission.admit(entry)
        began = perf_counter()
        try:
            if len(envelope) > SHORT_BYTES:
                query = await asyncio.to_thread(self._intake.open, entry, header, envelope, reply)
            else:
                query = self._intake.open(entry, header, envelope, reply)
        except BaseException:
            self._admission.leave(entry.record.model)
            raise
        self._meters.opening.since(began)
        self._follow(query, entry, batch.timeout_ms / 1000)
        return query

    def _follow(self, query: Query, entry: Entry, timeout: float) -> None:
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
        self._settle(query.number, query)

    def _settle(self, number: str, query: Query | None) -> None:
        self._known[number] = query
        if (waiting := self._awaited.pop(number, None)) is not None:
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
        future = self._awaited.get(number)
        if future is None:
            future = self._awaited[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                await asyncio.shield(future)
        except TimeoutError:
            self._awaited.pop(number, None)

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

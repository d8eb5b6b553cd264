"""The last step of a query: count it durably, then seal this evaluator's half for the client."""

from __future__ import annotations

import asyncio
from collections import Counter

from libmpc.errors import LibmpcError, UnavailableError
from libmpc.party.catalog import Catalog
from libmpc.party.queries import Admission, Query
from libmpc.party.run import reply_digest
from libmpc.party.store import Store
from libmpc.ring import pack
from libmpc.sealing.seal import seal
from libmpc.wire.envelope import ReplyPlaintext
from libmpc.wire.headers import reply_info


class Releaser:
    """Counts and seals.

    Args:
        index: 0 or 1.
        deployment: the deployment's id.
        lock: serialises changes of the catalog.
    """

    def __init__(
        self,
        index: int,
        deployment: bytes,
        *,
        catalog: Catalog,
        store: Store,
        admission: Admission,
        lock: asyncio.Lock,
    ) -> None:
        self._index = index
        self._deployment = deployment
        self._catalog = catalog
        self._store = store
        self._admission = admission
        self._lock = lock
        self._uncounted: list[tuple[str, asyncio.Future[None]]] = []

    async def release(self, query: Query) -> None:
        """Let a complete query's reply leave, or fail it."""
        try:
            await self._count(query)
            info = reply_info(
                self._deployment, query.entry.record.model, self._index, query.number
            )
            plain = ReplyPlaintext(reply_digest(query), pack(query.y)).encode()
            query.reply(seal(query.reply_key, info, plain))
        except LibmpcError as error:
            query.fail(error)

    async def _count(self, query: Query) -> None:
        model = query.entry.record.model
        entry = self._catalog.entries.get(model)
        if entry is None or not entry.record.serving:
            raise UnavailableError("the model was stopped", status=503, retry_after=5)
        if entry.record.num_requests is None:
            return
        # SECURITY: durable before the reply leaves, so that no crash gives a request away; the
        # reservation ends in the same step in which the count shows.
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._uncounted.append((model, done))
        async with self._lock:
            group, self._uncounted = self._uncounted, []
            if group:
                await self._commit(group)
        await done
        query.counted = True

    async def _commit(self, group: list[tuple[str, asyncio.Future[None]]]) -> None:
        """One transaction for all that wait: a flush to disk costs milliseconds."""
        counts = Counter(model for model, _ in group)
        try:
            await asyncio.to_thread(self._store.add_served, counts)
        except Exception:
            for _, done in group:
                done.set_exception(UnavailableError("a count could not be stored", status=503))
            return
        self._catalog.counted(counts)
        for model, done in group:
            self._admission.leave(model)
            done.set_result(None)

"""This party's own processes of other triples: the one that this one follows, or its followers.

At triple 0 replicas come and ask (see ``primary``); from triple 1 on this process is a replica
itself and asks triple 0 (see ``replica``). What a replica takes over, and every share that leaves
for one, is in the audit log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from libmpc.clock import Clock
from libmpc.link import ByteStream, LinkSettings, LinkTotals, LocalIdentity
from libmpc.party.auditor import Auditor
from libmpc.party.catalog import Catalog
from libmpc.party.entry import Entry
from libmpc.party.members import Members
from libmpc.party.mirror import Mirror
from libmpc.party.primary import Primary
from libmpc.party.replica import Replica
from libmpc.party.store import Record, Store

log = logging.getLogger(__name__)


class Siblings:
    """Serves replicas, and follows triple 0 where it is one.

    Args:
        local: this process.
        members: knows the keys of triple 0.
        store: has the shares that replicas fetch.
        lock: serialises changes of the catalog.
        auditor: records what is handed over and what is taken over.
        open_stream: opens a byte stream to this party's process of triple 0.
        clock, settings, traffic: for the link.
        changed: called when something was taken over.

    Attributes:
        primary: serves replicas.
        replica: follows triple 0; ``None`` there.
    """

    def __init__(
        self,
        local: LocalIdentity,
        members: Members,
        catalog: Catalog,
        store: Store,
        lock: asyncio.Lock,
        *,
        auditor: Auditor,
        open_stream: Callable[[], Awaitable[ByteStream]],
        clock: Clock,
        settings: LinkSettings,
        traffic: LinkTotals,
        changed: Callable[[], None],
    ) -> None:
        self._members = members
        self._catalog = catalog
        self._auditor = auditor
        self._index = local.index
        self._changed = changed
        self.primary = Primary(catalog, store, self._handed_over)
        self.replica: Replica | None = None
        self._mirroring: asyncio.Task[None] | None = None
        if local.triple > 0:
            self.replica = Replica(
                local,
                members.primary(),
                open_stream,
                Mirror(catalog, lock, self._mirrored),
                clock=clock,
                settings=settings,
                traffic=traffic,
            )

    def start(self) -> None:
        """Begin to follow triple 0, at a replica."""
        if self.replica is not None:
            self._mirroring = asyncio.ensure_future(self.replica.run())

    async def close(self) -> None:
        """Follow no more."""
        if self._mirroring is not None:
            self._mirroring.cancel()
            await asyncio.wait([self._mirroring])

    def renew(self, local: LocalIdentity) -> None:
        """Use other keys for new links; a link to triple 0 that may not go on ends."""
        if self.replica is not None:
            self.replica.renew(local, self._members.primary())

    async def _mirrored(self, before: Mapping[str, Entry]) -> None:
        if self._catalog.entries is not before:
            await self._auditor.absorbed(self._index, before)
            self._changed()

    def _handed_over(self, record: Record, triple: int) -> None:
        log.info("the share of %r goes to triple %d", record.name, triple)
        self._auditor.handed_over(record, triple)

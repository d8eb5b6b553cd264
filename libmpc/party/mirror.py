"""The steps by which a replica's catalog comes to hold what the primary's holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from libmpc.errors import AuthenticationError, ConflictError, ModelNotFoundError
from libmpc.party.catalog import Catalog
from libmpc.party.entry import Entry
from libmpc.party.handover import MirrorRequest, ModelInForce
from libmpc.party.primary_link import PrimaryLink

log = logging.getLogger(__name__)


class Mirror:
    """Compares and takes over.

    Args:
        lock: serialises changes of the catalog.
        changed: told of every change, with the entries as they were before.
    """

    def __init__(
        self,
        catalog: Catalog,
        lock: asyncio.Lock,
        changed: Callable[[Mapping[str, Entry]], Awaitable[None]],
    ) -> None:
        self._catalog = catalog
        self._lock = lock
        self._changed = changed

    async def compare(self, link: PrimaryLink, known: int) -> tuple[int, list[ModelInForce]]:
        """Let go of what is gone, apply commands; the version, and the models that lack.

        Args:
            known: the version that this catalog is even with already; 0 for none.

        Raises:
            LinkError, WireError: the primary gave no answer.
            UnavailableError: the disk refuses.
        """
        report = await link.report(MirrorRequest(known=known))
        if report.even:
            return report.version, []
        listed = {item.model: item for item in report.models}
        held = self._catalog.stored()
        gone = report.gone
        if extra := tuple(model for model in held if model not in listed):
            request = MirrorRequest(known=report.version, extra=extra)
            gone = (await link.report(request)).gone
        async with self._lock:
            before = self._catalog.entries
            await asyncio.to_thread(self._apply, [i for i in gone if i.model in held], listed)
        await self._changed(before)
        entries, tombstones = self._catalog.entries, self._catalog.tombstones
        lacking = [i for m, i in listed.items() if m not in entries and m not in tombstones]
        return report.version, lacking

    def _apply(self, gone: list[ModelInForce], listed: Mapping[str, ModelInForce]) -> None:
        # SECURITY: what ends something comes first; it is believed where it cannot be proven, as
        # a model's replacement, or a deletion by an owner whose key is not known any more.
        for item in gone:
            if item.command is None or not self._try(item):
                self._catalog.bury(item.model)
        for model, entry in list(self._catalog.entries.items()):
            there = listed.get(model)
            if there is None or there.command is None:
                continue
            if there.command.encode() != entry.record.command:
                self._try(there)

    def _try(self, item: ModelInForce) -> bool:
        assert item.command is not None
        try:
            self._catalog.command(item.command, from_peer=True)
        except (AuthenticationError, ConflictError, ModelNotFoundError) as error:
            log.warning("model %s: a command was not taken over: %s", item.model[:12], error)
        return item.model in self._catalog.tombstones

    async def take_over(self, link: PrimaryLink, item: ModelInForce) -> None:
        """Fetch a model, check it and put it in force.

        Raises:
            LinkError, WireError: it did not come.
            LibmpcError: it is not what it should be, or the disk refuses.
        """
        handed = await link.fetch(item.model)
        if handed is None:
            log.warning("model %s: the primary does not have its share", item.model[:12])
            return
        entry, payload = await asyncio.to_thread(self._catalog.check_handed, item, handed)
        async with self._lock:
            before = self._catalog.entries
            if item.model not in self._catalog.tombstones:
                await asyncio.to_thread(self._catalog.adopt, entry, payload)
        log.info("model %r was taken over", entry.record.name)
        await self._changed(before)

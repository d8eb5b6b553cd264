"""What parties tell each other of their catalogs, and how it is taken over while others work.

``sync`` says what is told and what is believed. Here is when: a party greets a peer on every new
link and whenever something has changed. A greeting is said once, so whoever has heard it goes on
until it is taken over, or until the same peer has told of something newer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from libmpc.clock import Clock
from libmpc.errors import UnavailableError
from libmpc.link import Link
from libmpc.party import sync
from libmpc.party.auditor import Auditor
from libmpc.party.catalog import Catalog
from libmpc.party.primary import Primary

log = logging.getLogger(__name__)

ABSORB_AGAIN_SECONDS = 1.0


class Greetings:
    """One party's: those that it makes, and those that it hears.

    Args:
        index: 0, 1 or 2.
        lock: serialises changes of the catalog.
        auditor: records what is taken over.
        primary: tells this party's processes of other triples of it.
        greet: greets a peer again.
        changed: called when a greeting was taken over, whether or not it had anything new.
        spawn: runs work for as long as the party lives.
    """

    def __init__(
        self,
        index: int,
        catalog: Catalog,
        lock: asyncio.Lock,
        *,
        clock: Clock,
        auditor: Auditor,
        primary: Primary,
        greet: Callable[[int], None],
        changed: Callable[[], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._index = index
        self._catalog = catalog
        self._lock = lock
        self._clock = clock
        self._auditor = auditor
        self._primary = primary
        self._greet = greet
        self._changed = changed
        self._spawn = spawn
        self._heard: dict[int, sync.CatalogReport] = {}  # each peer's last report
        self._met: set[int] = set()  # peers whose counts are still to be taken over
        self._told: dict[str, int] = {}  # counts of models with a limit, as the dealer has them

    def make(self, link: Link) -> bytes:
        """This party's greeting, for the peer of that link."""
        return sync.report(self._catalog, link.version[1])

    def tell_counts(self) -> None:
        """The dealer counts nothing; it remembers, for evaluators that lose their counts."""
        counts = {m: r.served for m, r in self._catalog.stored().items() if r.num_requests}
        if self._index != 2 and counts != self._told:
            self._told = counts
            self._greet(2)

    def hear(self, peer: int, payload: bytes, first: bool) -> None:
        """Take over what a peer tells, as soon as that is possible.

        Args:
            first: it is the first on its link.

        Raises:
            WireError: it is no greeting.
        """
        heard = self._heard[peer] = sync.CatalogReport.parse(payload)
        if first:
            self._met.add(peer)
        self._spawn(self._until_absorbed(peer, heard))

    async def _until_absorbed(self, peer: int, heard: sync.CatalogReport) -> None:
        while self._heard[peer] is heard:  # else it has told of something newer
            try:
                await self._absorb(peer, heard)
                break
            except UnavailableError as error:  # a full disk; nobody would tell us again
                log.warning("what party %d told of is not taken over yet: %s", peer, error)
                await self._clock.sleep(ABSORB_AGAIN_SECONDS)

    async def _absorb(self, peer: int, heard: sync.CatalogReport) -> None:
        # While queries run the evaluators are a few apart; the dealer only remembers.
        # SECURITY: once on every link, also where a second greeting overtakes the first: a count
        # of this party may be an old one, from a backup.
        counts = peer in self._met or self._index == 2
        async with self._lock:
            before = self._catalog.entries
            if await asyncio.to_thread(sync.absorb, self._catalog, heard, counts):
                log.info("party %d told of changes; taken over", peer)
                await self._auditor.absorbed(peer, before)
                self._primary.changed()
            self._met.discard(peer)
        self._changed()

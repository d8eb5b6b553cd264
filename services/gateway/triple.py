"""One triple as a gateway has it: links to a process of each party, and the queues before them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from libmpc.clock import Clock
from libmpc.link import Link
from services.gateway.batching import Batcher, BatchSettings
from services.gateway.catalogue import Catalogue
from services.gateway.fair import Load
from services.gateway.links import PartyLink
from services.gateway.metrics import Metrics
from services.gateway.parties import ALL, Parties
from services.gateway.settings import GatewaySettings
from services.gateway.timers import Timers

logger = logging.getLogger(__name__)

#: pauses between two looks at whether a triple is ready: while it is, and while it is not
READY_SECONDS, LOST_SECONDS = 0.5, 0.1
#: a query that was hinted at a triple has so long to arrive before it does not count any more
PROMISE_SECONDS = 0.25


class Dial(Protocol):
    """Makes links."""

    def __call__(self, party: int, triple: int) -> Awaitable[Link]:
        """A new link to that party's process of that triple; raises LinkError."""
        ...


class Triple:
    """The processes of one number, one of each party; they work with each other only.

    Args:
        number: 0 is the one where models are managed.
        dial: makes a link to the party of that index.

    Attributes:
        links: to parties 0, 1 and 2.
        leaving: whether it takes no more queries.
    """

    def __init__(
        self,
        number: int,
        dial: Dial,
        settings: GatewaySettings,
        metrics: Metrics,
        *,
        clock: Clock,
        timers: Timers,
    ) -> None:
        self.number = number
        self.leaving = False
        self._dial = dial
        self._clock = clock
        self._timers = timers
        self._metrics = metrics
        self._promised, self._since = 0, 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        self.meters = metrics.triple(number)
        self.meters.ready, self.meters.load = self._shown, lambda: self.load
        self.links = [
            PartyLink(
                party, self._linking(party), timers=timers, clock=clock, on_change=self._changed
            )
            for party in ALL
        ]
        self.parties = Parties(
            self.links,
            timers,
            call_timeout=settings.call_timeout,
            commit_timeout=settings.commit_timeout,
            heard=partial(metrics.heard, number),
        )
        self.catalogue = Catalogue(self.parties)
        self.batcher = Batcher(self.links, timers, _batch_settings(settings), metrics)

    def _linking(self, party: int) -> Callable[[], Awaitable[Link]]:
        async def link() -> Link:
            made = await self._dial(party, self.number)
            self._metrics.traffic.add(made)
            return made

        return link

    def _changed(self, party: int, up: bool) -> None:
        self.meters.up[party] = up
        self.parties.forget()  # what was said of its readiness was said before

    @property
    def ready(self) -> bool:
        """Whether queries could be answered when that was last asked, and nothing was lost since.

        Current for as long as ``watch`` runs.
        """
        return not self.leaving and self.parties.ready

    def _shown(self) -> bool:
        # Who is the only one is asked when somebody wants the gateway's readiness: perhaps never.
        return self.ready if self._watch else self.up and not self.parties.refused

    @property
    def up(self) -> bool:
        """Whether all three can be reached."""
        return all(link.up for link in self.links)

    @property
    def load(self) -> int:
        """Samples that wait or are under way here, or were sent here and have not arrived yet."""
        if self._promised and self._timers.now() - self._since > PROMISE_SECONDS:
            self._promised = 0
        return self.batcher.rows + self._promised

    def promise(self, rows: int) -> None:
        """A client was told to send its next query here."""
        if not self._promised:
            self._since = self._timers.now()
        self._promised += rows

    def arrived(self, rows: int) -> None:
        """A query is here."""
        self.meters.queries += 1
        self._promised = max(0, self._promised - rows)

    def start(self) -> None:
        """Begin to link up with the parties."""
        self._tasks = [asyncio.ensure_future(link.run()) for link in self.links]

    def watch(self) -> None:
        """Ask, from now on, whether it is ready."""
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._watching())
            self._tasks.append(self._watch)

    async def _watching(self) -> None:
        told: str | None = None
        while True:
            reason = await self.parties.reason()
            if reason != told:
                text = "is ready" if not reason else f"is not ready: {reason}"
                logger.info("triple %d %s", self.number, text)
                told = reason
            await self._clock.sleep(READY_SECONDS if not reason else LOST_SECONDS)

    async def drop(self, wanted: Callable[[int, bytes], bool]) -> None:
        """End the links to parties whose keys are not wanted any more; new ones follow."""
        for link in self.links:
            key = link.peer_key
            if key is not None and not wanted(link.party, key):
                await link.drop()

    async def leave(self, grace: float) -> None:
        """Take no more, finish what is under way within ``grace`` seconds, and end the links."""
        self.leaving = True
        await self.batcher.close(grace)
        await self.close()
        self._metrics.forget(self.meters)

    async def close(self) -> None:
        """End the links; within about a second."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _batch_settings(settings: GatewaySettings) -> BatchSettings:
    return BatchSettings(
        queue=Load(settings.queue_length, settings.queue_rows, settings.queue_bytes),
        batches=settings.batches,
        max_batches=settings.max_batches,
        delay=settings.batch_delay,
        queries=settings.batch_queries,
        rows=settings.batch_rows,
        bytes=settings.batch_bytes,
    )

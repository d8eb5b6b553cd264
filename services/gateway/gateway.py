"""A gateway without its HTTP routes: links, queues and questions to the parties."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from libmpc.access import AccessStore
from libmpc.clock import Clock
from libmpc.link import Link
from libmpc.tracing import Tracing
from services.gateway.access import Access
from services.gateway.batching import Batcher, BatchSettings
from services.gateway.bodies import Memory
from services.gateway.catalogue import Catalogue
from services.gateway.fair import Load
from services.gateway.links import PartyLink
from services.gateway.metrics import Metrics
from services.gateway.parties import ALL, Parties
from services.gateway.push import Pusher
from services.gateway.settings import GatewaySettings
from services.gateway.timers import Timers


class Gateway:
    """One gateway.

    Args:
        deployment: the deployment's id (16 bytes).
        dial: makes a link to the party of that index; raises LinkError.

    Attributes:
        tracing: makes spans of queries, where that is wanted; set before ``start``.
        store: the tokens in the settings' ``data``, and ``access``, what they open.

    Raises:
        ConfigError: the tokens cannot be read.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        deployment: bytes,
        dial: Callable[[int], Awaitable[Link]],
        *,
        clock: Clock,
        timers: Timers,
    ) -> None:
        self.settings = settings
        self.deployment = deployment
        self.timers = timers
        self.metrics = Metrics()
        shared = settings.token_sha256
        digest = None if shared is None else shared.get_secret_value()
        self.store = AccessStore(settings.data)
        self.access = Access(self.store, digest, clock)
        self.tracing: Tracing | None = None
        self._dial = dial
        self.links = [
            PartyLink(
                party,
                partial(self._link, party),
                timers=timers,
                clock=clock,
                on_change=self.metrics.party,
            )
            for party in ALL
        ]
        self.parties = Parties(
            self.links,
            timers,
            call_timeout=settings.call_timeout,
            commit_timeout=settings.commit_timeout,
            heard=self.metrics.heard,
        )
        self.catalogue = Catalogue(self.parties)
        self.metrics.stored = lambda: self.catalogue.names
        self.batcher = Batcher(self.links, timers, _batch_settings(settings), self.metrics)
        self.pusher = Pusher(self.parties, settings.push_timeout)
        self.memory = Memory(settings.memory_bytes, self.metrics.body_bytes.inc)
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def _link(self, party: int) -> Link:
        link = await self._dial(party)
        self.metrics.traffic.add(link)
        return link

    def start(self) -> None:
        """Begin to link up with the parties."""
        self._tasks = [asyncio.ensure_future(link.run()) for link in self.links]

    def renew(self, accepts: Callable[[int, bytes], bool]) -> None:
        """End the links to parties whose keys are not accepted any more; new ones follow."""
        for link in self.links:
            key = link.peer_key
            if key is not None and not accepts(link.party, key):
                task = asyncio.ensure_future(link.drop())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def reason(self) -> str:
        """Why queries cannot be answered; empty when they can."""
        return "the gateway is stopping" if self._stopping else await self.parties.reason()

    async def drain(self, grace: float) -> None:
        """Take no more queries; fail those that are not answered within ``grace`` seconds."""
        self._stopping = True
        await self.batcher.close(grace)

    async def close(self) -> None:
        """End the links; within about a second."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.access.close()


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

"""A gateway without its HTTP routes: links, queues and questions to the parties."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from libmpc.clock import Clock
from libmpc.tracing import Tracing
from services.gateway.access import Access
from services.gateway.bodies import Memory
from services.gateway.database import Calls
from services.gateway.metrics import Metrics
from services.gateway.push import Pusher
from services.gateway.router import Router
from services.gateway.settings import GatewaySettings
from services.gateway.timers import Timers
from services.gateway.triple import Dial, Triple


class Gateway:
    """One gateway.

    Args:
        deployment: the deployment's id (16 bytes).
        dial: makes a link to a party's process of one triple; raises LinkError.
        triples: how many processes each party has.

    Attributes:
        tracing: makes spans of queries, where that is wanted; set before ``start``.
        store: the tokens, and ``access``, what they open.

    Raises:
        ConfigError: the tokens cannot be read.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        deployment: bytes,
        dial: Dial,
        *,
        clock: Clock,
        timers: Timers,
        triples: int = 1,
    ) -> None:
        self.settings = settings
        self.deployment = deployment
        self.timers = timers
        self.clock = clock
        self.born = clock.monotonic()
        self.metrics = Metrics()
        shared = settings.token_sha256
        digest = None if shared is None else shared.get_secret_value()
        self.store = settings.where().open()
        calls = Calls(self.store, settings.database_timeout)
        self.access = Access(self.store, calls, digest, clock, timers, settings.database_grace)
        self.metrics.database = self.access
        make = partial(Triple, dial=dial, settings=settings, clock=clock, timers=timers)
        self.router = Router(lambda number: make(number, metrics=self.metrics), timers)
        self.router.resize(triples)
        self.pusher = Pusher(self.router.first.parties, settings.push_timeout)
        self.metrics.stored = self.router.names
        self.tracing: Tracing | None = None
        self.memory = Memory(settings.memory_bytes, self.metrics.body_bytes.inc)
        self._leaving: dict[Triple, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._keeping_up: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to link up with the parties."""
        self._keeping_up = asyncio.ensure_future(self.access.run())
        self.router.start()

    def renew(self, accepts: Callable[[int, bytes], bool], triples: int) -> None:
        """Go by a deployment file that was read again.

        Links to parties whose keys are not accepted any more end, and new ones follow. A triple
        that is not there any more takes no more queries; its links end when it has answered.

        Args:
            accepts: whether that party may have that key.
            triples: how many there are.
        """
        for triple in self.router.resize(triples):
            self._leaving[triple] = asyncio.ensure_future(self._leave(triple))
        for triple in (*self.router.triples, *self._leaving):
            task = asyncio.ensure_future(triple.drop(accepts))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _leave(self, triple: Triple) -> None:
        await triple.leave(self.settings.max_query_timeout)
        del self._leaving[triple]

    async def reason(self, limited: bool = False) -> str:
        """Why queries cannot be answered; empty when they can.

        Args:
            limited: of a model whose requests are counted, which triple 0 alone does.
        """
        if self._stopping:
            return "the gateway is stopping"
        if not self.access.usable:
            return "the database of tokens cannot be asked"
        return await self.router.reason(limited)

    async def drain(self, grace: float) -> None:
        """Take no more queries; fail those that are not answered within ``grace`` seconds."""
        self._stopping = True
        triples = [*self.router.triples, *self._leaving]
        await asyncio.gather(*(triple.batcher.close(grace) for triple in triples))

    async def close(self) -> None:
        """End the links; within about a second."""
        for task in self._leaving.values():
            task.cancel()
        triples = [*self.router.triples, *self._leaving]
        await asyncio.gather(*(triple.close() for triple in triples))
        if self._keeping_up is not None:
            self._keeping_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping_up
        await self.access.close()

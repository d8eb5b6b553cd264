"""Party 2's work: deal the bundles that party 0 asks for.

Bundles are announced in order, and those for the pool are dealt one after the other. A streamed
bundle, once announced, has a task of its own, since it lasts as long as its run; both take turns
at the processor step by step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from libmpc.errors import LibmpcError
from libmpc.failure import describe
from libmpc.party.catalog import Catalog
from libmpc.party.messages import BundleHeader, Deal
from libmpc.party.streams import Window
from libmpc.prg import Stream
from libmpc.protocol import DealerWeights
from libmpc.runtime import deal
from libmpc.wire.errors import WireError

log = logging.getLogger(__name__)

MAX_WAITING = 4096

StreamsFor = Callable[[str, int], tuple[Stream, Stream]]
SendHeader = Callable[[BundleHeader], Awaitable[None]]
SendCorrection = Callable[[int, int, bytes | bytearray | memoryview], Awaitable[None]]
Tell = Callable[[int], Awaitable[None]]
Parts = Iterator[tuple[int, memoryview]]


@dataclass(eq=False)
class _Flow:
    """A streamed bundle; ``task`` deals it, once it has been announced."""

    window: Window
    task: asyncio.Task[None] | None = None
    ended: bool = False


class Dealer:
    """Deals within one epoch; made anew, with new streams, for the next.

    Args:
        catalog: the stored models.
        streams: the streams of party 0 and party 1 for (model, bundle number).
        announce: tells party 1 that corrections follow.
        correct: sends party 1 one step's corrections.
        dealt: tells party 0 that a bundle is complete, or a streamed one begins.
        decline: tells party 0 that a bundle will not come.
        ended: tells party 1 that nothing more of a streamed bundle will come.
        executor: where the dealing is computed.
        window: bytes of a streamed bundle under way, at which the next step waits.
        at_once: streamed bundles at the same time; more wait for their turn.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        streams: StreamsFor,
        announce: SendHeader,
        correct: SendCorrection,
        dealt: SendHeader,
        decline: Tell,
        ended: Tell,
        executor: Executor,
        window: int,
        at_once: int,
    ) -> None:
        self._catalog = catalog
        self._streams_for = streams
        self._announce = announce
        self._correct = correct
        self._dealt = dealt
        self._decline = decline
        self._ended = ended
        self._executor = executor
        self._window = window
        self._slots = asyncio.Semaphore(at_once)
        self._high_water = 0
        self._jobs: asyncio.Queue[Deal] = asyncio.Queue(MAX_WAITING)
        self._flows: dict[int, _Flow] = {}
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> int:
        """Streamed bundles under way."""
        return len(self._flows)

    def request(self, job: Deal) -> None:
        """Queue a bundle.

        Raises:
            WireError: its number does not rise, or too many wait already.
        """
        # SECURITY: dealing one number twice would use its streams twice.
        if job.bundle <= self._high_water:
            raise WireError("bundle numbers must rise")
        self._high_water = job.bundle
        if self._jobs.full() or len(self._flows) >= MAX_WAITING:
            raise WireError("too many bundles asked for")
        if job.streamed:
            self._flows[job.bundle] = _Flow(Window(self._window))
        self._jobs.put_nowait(job)

    def credit(self, bundle: int, step: int) -> None:
        """Party 1 has used the corrections of a step.

        Raises:
            WireError: it has not been sent them.
        """
        if bundle in self._flows:  # else it is dealt to its end, or has been ended
            self._flows[bundle].window.credit(step)

    def end(self, bundle: int) -> None:
        """A streamed bundle is not wanted any more; party 1 hears when nothing more will come."""
        flow = self._flows.get(bundle)
        if flow is not None and flow.task is None:
            flow.ended = True  # party 1 has not heard of it
            return
        if flow is not None and flow.task is not None:
            flow.task.cancel()
        task = asyncio.get_running_loop().create_task(self._tell_ended(bundle))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def run(self) -> None:
        """Deal until cancelled."""
        try:
            while True:
                await self._deal(await self._jobs.get())
        finally:
            for task in (*(flow.task for flow in self._flows.values()), *self._telling):
                if task is not None:
                    task.cancel()

    async def _deal(self, job: Deal) -> None:
        flow = self._flows.get(job.bundle)
        if flow is not None and flow.ended:
            del self._flows[job.bundle]
            return
        begun = self._begin(job)
        if begun is None:
            self._flows.pop(job.bundle, None)
            await self._decline(job.bundle)  # deleted since it was asked for
            return
        header, parts = begun
        # Party 1 refuses numbers that do not rise, so here is one place only where they go out.
        await self._announce(header)
        if flow is not None:
            self._start(flow, header, parts)
            return
        while (part := await self._next(parts)) is not None:
            await self._correct(job.bundle, *part)
        await self._dealt(header)

    def _start(self, flow: _Flow, header: BundleHeader, parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        flow.task = loop.create_task(self._stream(header, parts, flow.window))
        flow.task.add_done_callback(lambda task: self._finished(header.bundle, task))
        if flow.ended:
            self.end(header.bundle)

    async def _stream(self, header: BundleHeader, parts: Parts, window: Window) -> None:
        async with self._slots:
            await self._dealt(header)
            coming = self._next(parts)
            while (part := await coming) is not None:
                coming = self._next(parts)  # one step ahead of what is sent
                await window.room()
                window.sent(part[0], len(part[1]))
                await self._correct(header.bundle, *part)

    def _begin(self, job: Deal) -> tuple[BundleHeader, Parts] | None:
        entry = self._catalog.entries.get(job.model)
        if entry is None or not isinstance(entry.weights, DealerWeights):
            return None
        header = BundleHeader(
            bundle=job.bundle,
            model=job.model,
            plan=entry.plan.digest.hex(),
            sharing=entry.sharing.hex(),
            rung=job.rung,
            streamed=job.streamed,
        )
        streams = self._streams_for(job.model, job.bundle)
        return header, deal(entry.plan, entry.weights, job.rung, *streams)

    def _next(self, parts: Parts) -> asyncio.Future[tuple[int, memoryview] | None]:
        loop = asyncio.get_running_loop()
        # StopIteration cannot pass through a future.
        return loop.run_in_executor(self._executor, next, parts, None)

    async def _tell_ended(self, bundle: int) -> None:
        if bundle in self._flows and (task := self._flows[bundle].task) is not None:
            await asyncio.wait({task})
        await self._ended(bundle)

    def _finished(self, bundle: int, task: asyncio.Task[None]) -> None:
        self._flows.pop(bundle, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, LibmpcError):
            log.error("a streamed bundle failed: %s", describe(error))

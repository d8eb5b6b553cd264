"""Party 2's work: deal the bundles that party 0 asks for.

Bundles are announced in order, and those for the pool are dealt one group after the other, the next
one while the last one is sent. A streamed bundle, once announced, has a task of its own, since it
lasts as long as its run; both take turns at the processor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from time import perf_counter

import numpy as np

from libmpc.errors import LibmpcError
from libmpc.failure import describe
from libmpc.party.catalog import Catalog
from libmpc.party.dealt import Dealt, Flow, make_header
from libmpc.party.entry import Entry
from libmpc.party.groups import largest_group, pieces
from libmpc.party.messages import BundleHeader, Deal
from libmpc.party.meters import Meters
from libmpc.party.streams import Window
from libmpc.prg import Stream
from libmpc.protocol import DealerWeights, Payload
from libmpc.protocol.purposes import Purpose
from libmpc.runtime import correction_sizes, deal
from libmpc.runtime.audit import Remembered, vouch
from libmpc.wire.errors import WireError

log = logging.getLogger(__name__)

MAX_WAITING = 4096
#: one group is dealt while another is sent
BUFFERS = 2
#: what is kept of a bundle's draws to vouch for it
_VOUCHED: frozenset[int] = frozenset({Purpose.MASK})

StreamsFor = Callable[[str, int], tuple[Stream, Stream]]
SendHeader = Callable[[BundleHeader], Awaitable[None]]
SendFirst = Callable[[BundleHeader, Payload], Awaitable[None]]
SendCorrection = Callable[[int, int, Payload], Awaitable[None]]
Tell = Callable[[int], Awaitable[None]]
Parts = Iterator[tuple[int, memoryview]]


class Dealer:
    """Deals within one epoch; made anew, with new streams, for the next.

    Args:
        catalog: the stored models.
        streams: the streams of party 0 and party 1 for (model, bundle number).
        announce: tells party 1 of bundles, with the first piece of their corrections.
        correct: sends party 1 one step's corrections, or another piece of a group's; these are of
            no use any more when it returns.
        dealt: tells party 0 that bundles are complete, or a streamed one begins.
        decline: tells party 0 that a bundle will not come.
        ended: tells party 1 that nothing more of a streamed bundle will come.
        executor: where the dealing is computed.
        window: bytes of a streamed bundle under way, at which the next step waits.
        at_once: streamed bundles at the same time; more wait for their turn.
        meters: what this party counts.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        streams: StreamsFor,
        announce: SendFirst,
        correct: SendCorrection,
        dealt: SendHeader,
        decline: Tell,
        ended: Tell,
        executor: Executor,
        window: int,
        at_once: int,
        meters: Meters,
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
        self._meters = meters
        self._slots = asyncio.Semaphore(at_once)
        self._high_water = 0
        self._jobs: asyncio.Queue[Deal] = asyncio.Queue(MAX_WAITING)
        self._outgoing: asyncio.Queue[Deal | Dealt] = asyncio.Queue(1)
        self._buffers: asyncio.Queue[np.ndarray[tuple[int], np.dtype[np.uint8]]] = asyncio.Queue()
        for _ in range(BUFFERS):
            self._buffers.put_nowait(np.empty(0, np.uint8))
        self._flows: dict[int, Flow] = {}
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> int:
        """Streamed bundles under way."""
        return len(self._flows)

    def request(self, job: Deal) -> None:
        """Queue bundles.

        Raises:
            WireError: their numbers do not rise, or too many wait already.
        """
        # SECURITY: dealing one number twice would use its streams twice.
        if job.bundle <= self._high_water:
            raise WireError("bundle numbers must rise")
        self._high_water = job.bundle + job.count - 1
        if self._jobs.full() or len(self._flows) >= MAX_WAITING:
            raise WireError("too many bundles asked for")
        if job.streamed:
            self._flows[job.bundle] = Flow(Window(self._window))
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
            async with asyncio.TaskGroup() as both:
                both.create_task(self._deal_all())
                both.create_task(self._send_all())
        finally:
            for task in (*(flow.task for flow in self._flows.values()), *self._telling):
                if task is not None:
                    task.cancel()

    async def _deal_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = await self._jobs.get()
            entry = self._entry(job)
            if job.streamed or entry is None:
                await self._outgoing.put(job)
                continue
            buffer, began = await self._buffers.get(), perf_counter()
            dealt = await loop.run_in_executor(self._executor, self._deal_group, job, entry, buffer)
            self._meters.dealt((job.model, job.rung), began, job.count)
            await self._outgoing.put(dealt)

    async def _send_all(self) -> None:
        """Everything that goes out in the order of the numbers.

        Party 1 refuses numbers that do not rise, so here is one place only where they go out.
        """
        while True:
            item = await self._outgoing.get()
            if isinstance(item, Dealt):
                await self._send_group(item)
                self._buffers.put_nowait(item.buffer)
            elif item.streamed:
                await self._begin_flow(item)
            else:
                await self._decline_all(item)

    def _deal_group(
        self, job: Deal, entry: Entry, buffer: np.ndarray[tuple[int], np.dtype[np.uint8]]
    ) -> Dealt:
        """In a thread."""
        assert isinstance(entry.weights, DealerWeights)
        size = sum(correction_sizes(entry.plan, job.rung).values())
        total = job.count * size
        vouched: list[str] = []
        if buffer.size < total:
            buffer = np.empty(total, np.uint8)
        for i in range(job.count):
            # SECURITY: every byte of a buffer that is sent is overwritten, see ``runtime.deal``.
            out = buffer[i * size : (i + 1) * size].data
            streams = self._streams_for(job.model, job.bundle + i)
            if job.vouch:
                streams = Remembered(streams[0], _VOUCHED), streams[1]
            for _ in deal(entry.plan, entry.weights, job.rung, *streams, out):
                pass
            if job.vouch:
                vouched.append(vouch(entry.plan, job.rung, streams[0]).hex())
        return Dealt(make_header(job, entry, vouched), buffer, total)

    async def _send_group(self, dealt: Dealt) -> None:
        header = dealt.header
        for number, piece in enumerate(pieces(dealt.buffer[: dealt.size].data)):
            if number:
                await self._correct(header.bundle, number, piece)
            else:
                await self._announce(header, piece)
        await self._dealt(header.model_copy(update={"vouched": ()}))

    async def _decline_all(self, job: Deal) -> None:
        for number in range(job.bundle, job.bundle + job.count):
            await self._decline(number)  # deleted since it was asked for

    async def _begin_flow(self, job: Deal) -> None:
        flow = self._flows[job.bundle]
        if flow.ended:
            del self._flows[job.bundle]
            return
        entry = self._entry(job)
        if entry is None:
            del self._flows[job.bundle]
            await self._decline_all(job)
            return
        assert isinstance(entry.weights, DealerWeights)
        header = make_header(job, entry)
        streams = self._streams_for(job.model, job.bundle)
        parts = deal(entry.plan, entry.weights, job.rung, *streams)
        await self._announce(header, b"")
        flow.task = asyncio.get_running_loop().create_task(self._stream(header, parts, flow.window))
        flow.task.add_done_callback(lambda task: self._finished(header.bundle, task))
        if flow.ended:
            self.end(header.bundle)

    async def _stream(self, header: BundleHeader, parts: Parts, window: Window) -> None:
        async with self._slots:
            began = perf_counter()
            await self._dealt(header)
            coming = self._next(parts)
            while (part := await coming) is not None:
                coming = self._next(parts)  # one step ahead of what is sent
                await window.room()
                window.sent(part[0], len(part[1]))
                await self._correct(header.bundle, *part)
            self._meters.dealt((header.model, header.rung), began)

    def _entry(self, job: Deal) -> Entry | None:
        """The model, if it is stored here and not more is asked for than may be at once."""
        entry = self._catalog.find(job.model)
        if entry is None or not isinstance(entry.weights, DealerWeights):
            return None
        size = sum(correction_sizes(entry.plan, job.rung).values())
        return entry if job.count <= largest_group(size) else None

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

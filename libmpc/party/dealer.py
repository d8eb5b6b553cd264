"""Party 2's work: deal the bundles that party 0 asks for, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor

from libmpc.party.catalog import Catalog
from libmpc.party.messages import BundleHeader, Deal
from libmpc.prg import Stream
from libmpc.protocol import DealerWeights
from libmpc.runtime import deal
from libmpc.wire.errors import WireError

MAX_WAITING = 4096

StreamsFor = Callable[[str, int], tuple[Stream, Stream]]
SendHeader = Callable[[BundleHeader], Awaitable[None]]
SendCorrection = Callable[[int, int, bytes | bytearray | memoryview], Awaitable[None]]


class Dealer:
    """Deals within one epoch; made anew, with new streams, for the next.

    Args:
        catalog: the stored models.
        streams: the streams of party 0 and party 1 for (model, bundle number).
        announce: tells party 1 that corrections follow.
        correct: sends party 1 one step's corrections.
        dealt: tells party 0 that a bundle is complete.
        decline: tells party 0 that a bundle will not come.
        executor: where the dealing is computed.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        streams: StreamsFor,
        announce: SendHeader,
        correct: SendCorrection,
        dealt: SendHeader,
        decline: Callable[[int], Awaitable[None]],
        executor: Executor,
    ) -> None:
        self._catalog = catalog
        self._streams = streams
        self._announce = announce
        self._correct = correct
        self._dealt = dealt
        self._decline = decline
        self._executor = executor
        self._high_water = 0
        self._jobs: asyncio.Queue[Deal] = asyncio.Queue(MAX_WAITING)

    def request(self, job: Deal) -> None:
        """Queue a bundle.

        Raises:
            WireError: its number does not rise, or too many wait already.
        """
        # SECURITY: dealing one number twice would use its streams twice.
        if job.bundle <= self._high_water:
            raise WireError("bundle numbers must rise")
        self._high_water = job.bundle
        try:
            self._jobs.put_nowait(job)
        except asyncio.QueueFull:
            raise WireError("too many bundles asked for") from None

    async def run(self) -> None:
        """Deal until cancelled."""
        while True:
            await self._deal(await self._jobs.get())

    async def _deal(self, job: Deal) -> None:
        entry = self._catalog.entries.get(job.model)
        if entry is None or not isinstance(entry.weights, DealerWeights):
            await self._decline(job.bundle)  # deleted since it was asked for
            return
        header = BundleHeader(
            bundle=job.bundle,
            model=job.model,
            plan=entry.plan.digest.hex(),
            sharing=entry.sharing.hex(),
            rung=job.rung,
        )
        await self._announce(header)
        loop = asyncio.get_running_loop()
        steps = deal(entry.plan, entry.weights, job.rung, *self._streams(job.model, job.bundle))
        while (part := await loop.run_in_executor(self._executor, _next, steps)) is not None:
            await self._correct(job.bundle, *part)
        await self._dealt(header)


def _next(steps: Iterator[tuple[int, bytearray]]) -> tuple[int, bytearray] | None:
    # StopIteration cannot pass through a future.
    return next(steps, None)

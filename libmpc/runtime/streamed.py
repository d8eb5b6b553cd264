"""A bundle too large to be held: its steps are prepared shortly before they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libmpc.graph.plan import ConvStep, DenseStep, ScaleStep
from libmpc.prg import MaskReuseError
from libmpc.protocol import linear
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Payload
from libmpc.runtime.bundle import Once, Randomness
from libmpc.runtime.estimates import SECONDS_PER_MAC, SECONDS_PER_PREPARED_BYTE
from libmpc.runtime.preparer import Prepared, Preparer
from libmpc.runtime.sizes import prepared_sizes

NextCorrection = Callable[[int], Awaitable[Payload]]
Used = Callable[[int], None]


def _ignore(step: int) -> None:
    pass


class StreamedBundle:
    """Prepares one run's randomness ahead of its use, as far as a window of memory allows.

    Begins at once, in the running event loop. Runs like a ``PreparedBundle``; close it, if it is
    never run.

    Args:
        preparer: fresh; this object alone uses it from now on.
        window: bytes of prepared randomness to hold, if one step does not need more.
        corrections: awaited at party 1 for every step of ``correction_sizes``, in order, when
            there is room for the step; ``None`` at party 0.
        used: told of every step with randomness, when the run has used it, in order.
        compute: where it prepares; the event loop's executor by default.

    Attributes:
        party: the evaluator, 0 or 1.
        batch: samples in the run.
        plan: what it is for.
    """

    def __init__(
        self,
        preparer: Preparer,
        *,
        window: int,
        corrections: NextCorrection | None = None,
        used: Used = _ignore,
        compute: Compute | None = None,
    ) -> None:
        if (corrections is None) != (preparer.party == 0):
            raise ValueError("party 1, and no other, needs corrections")
        self.party = preparer.party
        self.batch = preparer.batch
        self.plan = preparer.plan
        self._content = _Stream(preparer, window, corrections, used, compute or Compute())
        self._once = Once(self._content)

    def __repr__(self) -> str:
        state = "unused" if self._once else "used"
        return f"<StreamedBundle of party {self.party}, batch {self.batch}, {state}>"

    @property
    def nbytes(self) -> int:
        """Prepared randomness that is held now."""
        return self._content.held

    def take(self) -> Randomness:
        """The randomness, once.

        Raises:
            MaskReuseError: it was taken before, or the bundle has been closed.
        """
        return self._once.take()

    async def aclose(self) -> None:
        """Drop everything; a run that waits for a step of it fails. May be called at any time."""
        if self._once:
            self._once.take()
        await self._content.aclose()


class _Stream:
    """The steps of a streamed bundle: one task prepares them, one run takes them."""

    def __init__(
        self,
        preparer: Preparer,
        window: int,
        corrections: NextCorrection | None,
        used: Used,
        compute: Compute,
    ) -> None:
        self._preparer = preparer
        self._window = window
        self._corrections = corrections
        self._used = used
        self._compute = compute
        self._sizes = prepared_sizes(preparer.plan, preparer.batch)
        self._ready: dict[int, Prepared] = {}
        self._reached = 0  # steps before this one have been prepared
        self._progress = asyncio.Event()
        self._room = asyncio.Event()
        self.held = 0
        self._task = asyncio.get_running_loop().create_task(self._prepare_all())
        self._task.add_done_callback(lambda _: self._progress.set())

    def __repr__(self) -> str:
        return f"<randomness of steps {sorted(self._ready)}>"

    async def take(self, step: int) -> Prepared | None:
        """One step's randomness, once it has been prepared.

        Raises:
            ProtocolError: a correction has the wrong length.
            MaskReuseError: the bundle has been closed.
        """
        while self._reached <= step and not self._task.done():
            self._progress.clear()
            await self._progress.wait()
        if self._reached <= step:
            if not self._task.cancelled():
                self._task.result()  # raises what ended the preparation
            raise MaskReuseError("the bundle was closed; take a new one")
        return self._ready.pop(step, None)

    def used(self, step: int) -> None:
        """Make room for others."""
        size = self._sizes.get(step)
        if size is not None:
            self.held -= size
            self._room.set()
            self._used(step)

    async def aclose(self) -> None:
        """Stop preparing; what a thread is still at is dropped when it is done."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # whoever takes a step is told; else it is of no interest
        self._ready.clear()
        self._sizes = {}
        self.held = 0

    async def _prepare_all(self) -> None:
        preparer = self._preparer
        for index, step in enumerate(preparer.plan.steps):
            size = self._sizes.get(index, 0)
            # Every prepared step before this one is in use or to be used, so room will come.
            while self.held and self.held + size > self._window:
                self._room.clear()
                await self._room.wait()
            self.held += size
            correction = None
            if self._corrections is not None and index in preparer.expected:
                correction = await self._corrections(index)
            seconds = size * SECONDS_PER_PREPARED_BYTE
            if isinstance(step, (DenseStep, ConvStep, ScaleStep)):
                seconds += linear.macs(step, preparer.batch) * SECONDS_PER_MAC
            part = await self._compute.run(seconds, preparer.step, index, correction)
            if part is not None:
                self._ready[index] = part
            self._reached = index + 1
            self._progress.set()

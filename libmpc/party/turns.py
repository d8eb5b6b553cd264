"""Whose run is next: slots go round by model and, within a model, by batch of queries."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable

_Waiting = deque[asyncio.Future[None]]


class Turns:
    """A number of slots that are taken in turns.

    A long query is many runs that all wait here; a short one that comes later has its turn after
    one of them, not after all.

    Args:
        slots: runs at the same time.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        # Models in the order of their turns, and so the batches of each.
        self._models: OrderedDict[str, OrderedDict[Hashable, _Waiting]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, model: str, batch: Hashable) -> AsyncIterator[None]:
        """Hold a slot; runs of one batch get theirs in order."""
        if self._free:
            self._free -= 1  # nobody waits
        else:
            await self._wait(model, batch)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, model: str, batch: Hashable) -> None:
        waiting = self._models.setdefault(model, OrderedDict()).setdefault(batch, deque())
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._pass_on()  # the slot was given to us in this very moment
            raise

    def _pass_on(self) -> None:
        """A slot becomes free."""
        while self._models:
            model, batches = self._models.popitem(last=False)
            batch, waiting = batches.popitem(last=False)
            future = waiting.popleft()
            if waiting:
                batches[batch] = waiting  # behind the others
            if batches:
                self._models[model] = batches
            if not future.done():  # else whoever waited has been cancelled
                future.set_result(None)
                return
        self._free += 1

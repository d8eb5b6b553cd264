"""A clock that only a test moves."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class ManualClock:
    """Time stands still until ``advance``, which wakes sleepers in order of their deadlines."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._start = start
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> float:
        return self._start + self._passed

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, and everything run that becomes ready meanwhile."""
        end = self._passed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, future = heapq.heappop(self._sleepers)
            self._passed = deadline
            if not future.done():
                future.set_result(None)
            await settle()
        self._passed = end


async def settle() -> None:
    """Let ready tasks run until nothing more follows from them."""
    for _ in range(20):
        await asyncio.sleep(0)

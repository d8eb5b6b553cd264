"""Where a kernel runs: short ones in the event loop, long ones in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Compute:
    """Runs a function here, or in a thread where it would hold up the event loop.

    A hand-over costs about 0.1 ms, so that only long kernels should pay for it.

    Args:
        executor: for the long ones; ``None`` is the event loop's own.
        threshold: seconds; what is estimated to take longer goes to the executor.
    """

    def __init__(self, executor: Executor | None = None, threshold: float = 1e-3) -> None:
        self._executor = executor
        self._threshold = threshold

    async def run(
        self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``function(*args, **kwargs)``, which is estimated to take this many seconds."""
        if seconds < self._threshold:
            return function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

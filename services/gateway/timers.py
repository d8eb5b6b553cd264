"""The seam to the event loop's timers, so that tests can own deadlines and delays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Make it not happen; harmless after it has."""
        ...


class Timers(Protocol):
    """Calls in the future. One costs a microsecond, where a sleeping task costs thirty."""

    def now(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, ``seconds`` from now."""
        ...


class LoopTimers:
    """The running event loop's own."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)

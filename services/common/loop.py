"""The event loop of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

try:
    import uvloop
except ImportError:  # not on every platform
    uvloop = None  # type: ignore[assignment]


def run_loop(main: Coroutine[None, None, None]) -> None:
    """Run ``main`` on uvloop where it is installed, on asyncio's own loop elsewhere."""
    factory = uvloop.new_event_loop if uvloop is not None else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)

"""The event loop of a service."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Coroutine

try:
    import uvloop
except ImportError:  # not on every platform
    uvloop = None  # type: ignore[assignment]


def allow_connections(files: int = 8192) -> None:
    """Raise the number of open files (1024 by default) to what the bounds on connections need.

    Whoever opens connections that ask for nothing would otherwise use up the service's files
    before its bounds count; then nobody can connect, and it cannot open its own.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a container may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_loop(main: Coroutine[None, None, None]) -> None:
    """Run ``main`` on uvloop where it is installed, on asyncio's own loop elsewhere."""
    allow_connections()
    factory = uvloop.new_event_loop if uvloop is not None else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)

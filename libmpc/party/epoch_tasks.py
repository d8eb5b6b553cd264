"""Work of a role that ends with its epoch, and what is said of work that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from libmpc.errors import LibmpcError
from libmpc.failure import describe
from libmpc.party.meters import Meters

log = logging.getLogger(__name__)


class EpochTasks:
    """Tasks of one epoch.

    Args:
        meters: counts those that fail.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __repr__(self) -> str:
        return f"<EpochTasks {sorted(task.get_name() for task in self._tasks)}>"

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` for as long as the epoch lasts."""
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def close(self) -> None:
        """The epoch has ended: end everything and begin nothing more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._meters.failed(error)
            if isinstance(error, LibmpcError):
                log.warning("a run or a bundle came to nothing: %s", error)
            else:
                log.error("a run or a bundle failed: %s", describe(error))

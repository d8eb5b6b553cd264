"""SIGHUP: read the deployment file, the keys and the certificates anew, without stopping."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from libmpc.errors import ConfigError
from libmpc.failure import describe

logger = logging.getLogger(__name__)


def on_hangup(renew: Callable[[], Awaitable[None]]) -> None:
    """Call ``renew`` at every SIGHUP, one at a time; when it fails, that is logged."""
    turn = asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()

    async def run() -> None:
        async with turn:
            try:
                await renew()
            except ConfigError as error:
                logger.error("nothing was read anew, it goes on as it was: %s", error)
            except Exception as error:  # noqa: BLE001 - a service does not end for this
                logger.error("reading the files anew has failed: %s", describe(error))
            else:
                logger.info("deployment file, keys and certificates were read anew")

    def begin() -> None:
        task = asyncio.ensure_future(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)

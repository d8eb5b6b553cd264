"""Questions to the database of tokens from the event loop: few at a time, none for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from libmpc.access import AccessStore, StoreError
from libmpc.errors import ConfigError, UnavailableError
from services.gateway.errors import RETRY_SECONDS

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
#: what a statement gets beyond its own limit before nobody waits for it any more
SLACK = 1.0


class Calls:
    """Calls of a store's methods, in threads.

    Args:
        timeout: seconds that the database may take to answer.

    Attributes:
        up: whether the last call was answered.
        failures: how many were not.
    """

    def __init__(self, store: AccessStore, timeout: float) -> None:
        self.up = True
        self.failures = 0
        self._store = store
        # The embedded one has a bound of its own.
        self._patience = timeout + SLACK if store.shared else None
        self._threads = ThreadPoolExecutor(THREADS, "database")

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns.

        If it takes too long, or whoever waits is cancelled, nobody knows what has become of it.

        Raises:
            UnavailableError: the database cannot be asked; at once while it is known to be down.
        """
        if self._store.shared and not self.up:
            raise self.unusable()
        return await self.always(function, *args, **kwargs)

    async def always(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same; also asks a database that was down."""
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            async with asyncio.timeout(self._patience):
                found = await asked
        except TimeoutError:
            raise self.failed("it does not answer") from None
        except (StoreError, ConfigError) as error:
            raise self.failed(error) from None
        if not self.up:
            logger.info("the database of tokens answers again")
        self.up = True
        return found

    def failed(self, error: Exception | str) -> UnavailableError:
        """Note that a call has failed; the error for whoever waits for it."""
        if self.up or not self._store.shared:
            logger.error("the database of tokens cannot be used: %s", error)
        self.up = False
        self.failures += 1
        return self.unusable()

    def unusable(self) -> UnavailableError:
        """The error for whoever needs the database; what is wrong with it is in the log."""
        text = (
            "the gateway cannot ask its database of tokens; its log has more"
            if self._store.shared
            else "the gateway cannot use its file of tokens (is its disk full?); its log has more"
        )
        return UnavailableError(text, status=503, retry_after=RETRY_SECONDS, code="tokens")

    def close(self) -> None:
        """Take no more calls; those that wait are not made."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def whole(work: Coroutine[Any, Any, None]) -> None:
    """Await work that goes on to its end if whoever waits for it is cancelled."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_seen)
    await asyncio.shield(task)


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits has it; nobody may wait any more

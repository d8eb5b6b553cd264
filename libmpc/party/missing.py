"""Models that another party does not hold: bundles of theirs are asked for again, more and more
seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from libmpc.errors import UnavailableError

#: first and longest pause before bundles are asked for that another party had no model for
ASK_AGAIN_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0


class Missing:
    """The models that a bundle was declined for.

    Args:
        spawn: runs work for as long as the epoch lasts.
        top_up: asks for bundles.

    Attributes:
        models: digests; nothing is asked for them now.
    """

    def __init__(
        self, spawn: Callable[[Coroutine[None, None, None]], None], top_up: Callable[[], None]
    ) -> None:
        self.models: set[str] = set()
        self._spawn = spawn
        self._top_up = top_up
        self._asking = False
        self._pause = ASK_AGAIN_SECONDS

    def clear(self) -> None:
        """A model has come or gone: everything may be there now."""
        self._pause = ASK_AGAIN_SECONDS
        self.models.clear()

    def ask_again_later(self) -> None:
        """Ask for all of them after a pause, unless that is on its way."""
        if not self._asking:
            self._asking = True
            self._spawn(self._ask_again())

    async def _ask_again(self) -> None:
        # The party may never hold it, after a restored backup: it must not be dealt for in vain
        # all the time.
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._asking = False
        self.models.clear()
        self._top_up()


def too_late() -> UnavailableError:
    """No bundle came in time."""
    return UnavailableError("no correlated randomness in time", status=503, code="no_bundle")


def not_there() -> UnavailableError:
    """No bundle will come."""
    return UnavailableError("another party does not hold the model", status=503, code="no_model")

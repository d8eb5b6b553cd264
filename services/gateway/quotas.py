"""How many images a token may have answered, counted so that a crash gives none away.

Images are *reserved* on disk before a query that needs them leaves, some ahead, so that few queries
wait for the disk: an eighth of what is left, at most 1,024. What is reserved counts as used after a
crash; a clean stop gives back the rest.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from libmpc.access import AccessStore
from libmpc.errors import LimitError, UnavailableError

logger = logging.getLogger(__name__)

MAX_AHEAD = 1024


class Quota:
    """One token's images of one model.

    Args:
        limit: how many there are in all.
        used: how many are gone.
        save: makes a count durable; called in a thread.
    """

    def __init__(self, limit: int, used: int, save: Callable[[int], None]) -> None:
        self._limit = limit
        self.used = used
        self._reserved = used
        self._save = save
        self._lock = asyncio.Lock()

    async def take(self, images: int) -> None:
        """Count images; returns when the count is durable.

        Raises:
            LimitError: fewer are left. Counts nothing.
            UnavailableError: the count cannot be written.
        """
        left = self._limit - self.used
        if images > left:
            raise LimitError(
                f"this token has {left} of {self._limit} images of this model left; ask whoever"
                " gave it to you for another",
                status=429,
                code="quota",
            )
        # SECURITY: before anything that waits, so that queries side by side cannot share what is
        # left.
        self.used += images
        if self.used > self._reserved:
            # Not to be cancelled half-way: what is on disk and what is known must agree.
            task = asyncio.ensure_future(self._reserve())
            task.add_done_callback(_seen)
            try:
                await asyncio.shield(task)
            except BaseException:
                self.used -= images
                raise

    async def _reserve(self) -> None:
        async with self._lock:
            while self.used > self._reserved:
                ahead = min(MAX_AHEAD, (self._limit - self.used) // 8)
                wanted = self.used + ahead
                try:
                    await asyncio.to_thread(self._save, wanted)
                except sqlite3.Error as error:
                    raise unreadable(error) from None
                self._reserved = wanted

    def give_back(self, images: int) -> None:
        """Images that were not answered."""
        self.used -= images

    @property
    def is_exact(self) -> bool:
        """Whether what is on disk is what was used."""
        return self._reserved == self.used


class Quotas:
    """The counts of one token, by model."""

    def __init__(self, store: AccessStore, token: str, limit: int) -> None:
        self._store = store
        self._token = token
        self._limit = limit
        self._counts = {
            model: self._quota(model, used) for model, used in store.usage(token).items()
        }

    def of(self, model: str) -> Quota:
        """The count of a model, which must be one that there is."""
        found = self._counts.get(model)
        if found is None:
            found = self._counts[model] = self._quota(model, 0)
        return found

    @property
    def used(self) -> dict[str, int]:
        """Images used, by model."""
        return {model: quota.used for model, quota in sorted(self._counts.items()) if quota.used}

    def unsettled(self) -> list[tuple[str, str, int]]:
        """Exact counts (token, model, images) where more are set aside on disk."""
        counts = self._counts.items()
        return [(self._token, model, quota.used) for model, quota in counts if not quota.is_exact]

    def _quota(self, model: str, used: int) -> Quota:
        return Quota(self._limit, used, lambda count: self._store.count(self._token, model, count))


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits has it; nobody may wait any more


def unreadable(error: Exception) -> UnavailableError:
    """The error for a token file that cannot be read or written; what is wrong goes to the log."""
    logger.error("the tokens' file cannot be used: %s", error)
    text = "the gateway cannot use its file of tokens (is its disk full?); its log has more"
    return UnavailableError(text, status=503, retry_after=1.0, code="tokens")

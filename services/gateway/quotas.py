"""How many images a token may have answered: what this gateway has set aside of them.

Images are set aside in the database before a query that needs them leaves, some ahead, so that few
queries wait for it. They count as used after a crash; a clean stop gives back the rest, and so does
a gateway of several that has not needed them for a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libmpc.access.counts import Part
from libmpc.errors import AuthenticationError, LimitError
from services.gateway.database import whole

#: seconds for which what others have left is believed, and after which spare images go back
IDLE_SECONDS = 1.0

#: sets aside at least so many images, or as many as are wanted and some ahead; None: revoked
SetAside = Callable[[int, int], Awaitable[Part | None]]


class Quota:
    """One token's images of one model.

    Args:
        limit: how many there are in all.

    Attributes:
        spare: how many are set aside and not used.
    """

    def __init__(self, limit: int, set_aside: SetAside) -> None:
        self.spare = 0
        self._limit = limit
        self._set_aside = set_aside
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._touched = 0.0
        self._left = limit  # for anybody, and until when that is believed
        self._believed = 0.0

    async def take(self, images: int, now: float) -> None:
        """Count images; returns when the count is durable.

        Args:
            now: seconds of a clock that never goes back.

        Raises:
            LimitError: fewer are left. Counts nothing.
            AuthenticationError: the token has been revoked meanwhile.
            UnavailableError: the count cannot be written.
        """
        self._touched = now
        if images > self.spare:
            self._waiting += images
            try:
                async with self._lock:
                    # Again after it: another query may have taken them from under this one.
                    while images > self.spare:
                        self._check(images, now)
                        await whole(self._more(images, now))
                    self.spare -= images
            finally:
                self._waiting -= images
            return
        # SECURITY: without waiting since the comparison, so that queries side by side cannot share
        # what is left.
        self.spare -= images

    def _check(self, images: int, now: float) -> None:
        if images - self.spare > self._left and now < self._believed:
            raise LimitError(
                f"this token has {self._left + self.spare} of {self._limit} images of this model"
                " left; ask whoever gave it to you for another",
                status=429,
                code="quota",
            )

    async def _more(self, images: int, now: float) -> None:
        part = await self._set_aside(images - self.spare, self._waiting - self.spare)
        if part is None:
            raise AuthenticationError("this token has been revoked", status=401)
        self.spare += part.images
        self._left, self._believed = part.left, now + IDLE_SECONDS

    def give_back(self, images: int) -> None:
        """Images that were not answered."""
        self.spare += images

    def release(self) -> int:
        """Hand over what is spare, to be given back in the database."""
        spare, self.spare, self._believed = self.spare, 0, 0.0
        return spare

    def is_idle(self, now: float) -> bool:
        """Whether what is spare has not been needed for a while."""
        waited = now - self._touched >= IDLE_SECONDS
        return self.spare > 0 and waited and not self._lock.locked()

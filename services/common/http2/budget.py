"""How many frames a peer may send that make us work without being a link's data."""

from __future__ import annotations

import time
from collections.abc import Callable

from h2.errors import ErrorCodes

from services.common.http2.frames import Http2Error
from services.common.http2.limits import FRAME_BURST, FRAMES_PER_SECOND


class FrameBudget:
    """A bucket of frames, filled as time goes by: against floods of PING, SETTINGS, resets,
    empty frames and requests alike."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left = float(FRAME_BURST)
        self._since = now()

    def spend(self) -> None:
        """One frame.

        Raises:
            Http2Error: they are too many.
        """
        self._left -= 1
        if self._left >= 0:
            return
        now = self._now()
        self._left = min(FRAME_BURST, self._left + (now - self._since) * FRAMES_PER_SECOND)
        self._since = now
        if self._left < 0:
            raise Http2Error(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames")

"""When a link sends a heartbeat, and when its peer counts as dead."""

from __future__ import annotations

import math
from enum import Enum

from libmpc.link.terms import LinkSettings


class Beat(Enum):
    """What a tick asks for."""

    NOTHING = 0
    SEND = 1
    DEAD = 2


class Pulse:
    """Counts ticks that this process has seen, rather than time.

    After its own event loop was blocked for long, what the peer sent meanwhile is read before the
    peer is called dead.

    Attributes:
        seconds: between ticks.
        used: set by whoever sends.
        heard: set by whoever receives.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self.seconds = settings.heartbeat / 2
        self.used = self.heard = False
        self._limit = math.ceil(settings.timeout / self.seconds)
        self._silent = self._idle = 0

    def tick(self, *, sending: bool, reading: bool) -> Beat:
        """Half a heartbeat has passed.

        Args:
            sending: something is on its way out.
            reading: silence would be noticed.
        """
        self._idle = 0 if self.used or sending else self._idle + 1
        self._silent = 0 if self.heard or not reading else self._silent + 1
        self.used = self.heard = False
        if self._silent >= self._limit:
            return Beat.DEAD
        if self._idle >= 2:
            self._idle = 0
            return Beat.SEND
        return Beat.NOTHING

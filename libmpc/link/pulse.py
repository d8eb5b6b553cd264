"""When a link sends a heartbeat, and when its peer counts as dead."""

from __future__ import annotations

import math
from enum import Enum

from libmpc.link.terms import LinkSettings

#: a record takes no longer than this many times the peer's silence: 1 MiB in 30 s
RECORD_TIMEOUTS = 10


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
        self._silent = self._idle = self._stuck = 0
        self._records = 0

    def tick(self, *, sending: bool, reading: bool, records: int) -> Beat:
        """Half a heartbeat has passed.

        Args:
            sending: something is on its way out.
            reading: silence would be noticed.
            records: complete records of the peer's so far. One whose length was changed on the
                way never ends, whatever arrives.
        """
        self._idle = 0 if self.used or sending else self._idle + 1
        self._silent = 0 if self.heard or not reading else self._silent + 1
        self._stuck = 0 if records != self._records or not reading else self._stuck + 1
        self._records = records
        self.used = self.heard = False
        if self._silent >= self._limit or self._stuck >= RECORD_TIMEOUTS * self._limit:
            return Beat.DEAD
        if self._idle >= 2:
            self._idle = 0
            return Beat.SEND
        return Beat.NOTHING

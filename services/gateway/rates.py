"""How fast a token may ask: a leaky bucket that needs one number."""

from __future__ import annotations

from libmpc.errors import LimitError

MINUTE = 60.0


class Rate:
    """So many a minute, a minute's worth at once: the generic cell rate algorithm (ITU-T I.371).

    ``_free`` is when the bucket would be empty. A cost pushes it on by its share of a minute, and
    may push it a minute beyond now and no further. In memory only: a restart forgets a minute.

    Args:
        limit: units a minute.
        what: in messages: "images", "requests".
    """

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self._what = what
        self._free = 0.0

    def take(self, units: int, now: float) -> None:
        """Count ``units`` at the time ``now`` (seconds of a clock that never goes back).

        Raises:
            LimitError: too many; says when they would fit, unless that is never. Counts nothing.
        """
        text = f"this token may ask for {self.limit} {self._what} a minute"
        if units > self.limit:
            text += f", and the query has {units} at once: send smaller ones"
            raise LimitError(text, status=429, code="rate")
        free = max(self._free, now) + units * MINUTE / self.limit
        # A microsecond, since sums of fractions are not exact.
        if (wait := free - now - MINUTE) > 1e-6:
            raise LimitError(f"{text}; try again later", status=429, retry_after=wait, code="rate")
        self._free = free

    def give_back(self, units: int) -> None:
        """Take back what was counted for nothing."""
        self._free -= units * MINUTE / self.limit

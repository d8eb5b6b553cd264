"""How fast a token may ask: the generic cell rate algorithm (ITU-T I.371), one number a token."""

from __future__ import annotations

from typing import NamedTuple

MINUTE = 60.0
#: sums of fractions are not exact
_TINY = 1e-6


class Slice(NamedTuple):
    """Part of a minute's worth.

    Attributes:
        units: how many may be used; 0 if too few are free.
        wait: seconds until as many as were needed may be free.
        free: when the bucket will be empty.
    """

    units: int
    wait: float
    free: float


def slice_of(
    free: float, now: float, limit: int, need: int, ahead: int = 0, unused: int = 0
) -> Slice:
    """Take ``need`` units of ``limit`` a minute, and up to ``ahead`` more.

    A unit pushes ``free`` on by its share of a minute. It may be pushed a minute beyond ``now`` and
    no further, so that a minute's worth may come at once.

    Args:
        free: when the bucket would be empty; in seconds of the clock of ``now``.
        need: at most ``limit``.
        unused: units of an earlier slice that come back.
    """
    each = MINUTE / limit
    free = max(free - unused * each, now)
    room = now + MINUTE - free
    if (wait := need * each - room) > _TINY:
        return Slice(0, wait, free)
    units = need + min(ahead, max(0, int((room + _TINY) / each) - need))
    return Slice(units, 0.0, free + units * each)

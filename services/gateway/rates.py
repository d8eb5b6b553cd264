"""How fast a token may ask, at one gateway or over all that share a database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from libmpc.access.pace import MINUTE, Slice, slice_of
from libmpc.errors import AuthenticationError, LimitError
from services.gateway.database import whole

#: a slice is at most this part of a minute's worth, and may be used for this part of a minute
PARTS = 16
SLICE_SECONDS = MINUTE / PARTS

#: takes at least so many units, or so many more ahead, and gives back unused ones; None: revoked
TakeSlice = Callable[[int, int, int], Awaitable[Slice | None]]


class Rate(Protocol):
    """So many a minute, a minute's worth at once."""

    async def take(self, units: int, now: float) -> None:
        """Count ``units`` at the time ``now`` (seconds of a clock that never goes back).

        Raises:
            LimitError: too many; says when they would fit, unless that is never. Counts nothing.
            AuthenticationError, UnavailableError: as ``Quota.take``.
        """
        ...

    def give_back(self, units: int) -> None:
        """Take back what was counted for nothing."""
        ...


class OwnRate:
    """The rate at the only gateway. In memory: a restart forgets a minute.

    Args:
        limit: units a minute.
        what: in messages: "images", "requests".
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._free = 0.0

    async def take(self, units: int, now: float) -> None:
        _check(self._limit, self._what, units)
        taken = slice_of(self._free, now, self._limit, units)
        if not taken.units:
            raise _too_fast(self._limit, self._what, taken.wait)
        self._free = taken.free

    def give_back(self, units: int) -> None:
        self._free -= units * MINUTE / self._limit


class SharedRate:
    """The rate over all gateways: this one takes slices of a minute's worth out of the database.

    A slice has what the query needs and, ahead, twice what was used of the last one: at most a
    sixteenth of a minute's worth, for a sixteenth of a minute. So a token costs the database some
    forty questions a minute at most, however fast it asks, and N gateways together let N/16 of a
    minute's worth pass at most 4 s later than it was counted.
    """

    def __init__(self, limit: int, what: str, take_slice: TakeSlice) -> None:
        self._limit = limit
        self._what = what
        self._take_slice = take_slice
        self._lock = asyncio.Lock()
        self._units = 0  # of the slice, not used yet
        self._until = 0.0
        self._used = 0  # since the slice was taken
        self._refused = 0  # so many will not fit before
        self._not_before = 0.0

    async def take(self, units: int, now: float) -> None:
        _check(self._limit, self._what, units)
        if not self._fits(units, now):
            async with self._lock:
                while not self._fits(units, now):
                    if units >= self._refused > 0 and now < self._not_before:
                        raise _too_fast(self._limit, self._what, self._not_before - now)
                    await whole(self._more(units, now))
        self._units -= units
        self._used += units

    def _fits(self, units: int, now: float) -> bool:
        return units <= self._units and now < self._until

    async def _more(self, units: int, now: float) -> None:
        over = now >= self._until
        recent = self._used if now < self._until + SLICE_SECONDS else 0
        unused = self._units if over else 0
        need = units - (0 if over else self._units)
        ahead = min(self._limit // PARTS, 2 * recent)
        self._units -= unused
        taken = await self._take_slice(need, ahead, unused)
        if taken is None:
            raise AuthenticationError("this token has been revoked", status=401)
        if taken.units:
            self._units += taken.units
            self._until, self._used, self._refused = now + SLICE_SECONDS, 0, 0
        else:
            self._refused, self._not_before = units, now + taken.wait

    def give_back(self, units: int) -> None:
        self._units += units


def _check(limit: int, what: str, units: int) -> None:
    if units > limit:
        text = f"{_text(limit, what)}, and the query has {units} at once: send smaller ones"
        raise LimitError(text, status=429, code="rate")


def _too_fast(limit: int, what: str, wait: float) -> LimitError:
    text = f"{_text(limit, what)}; try again later"
    return LimitError(text, status=429, retry_after=wait, code="rate")


def _text(limit: int, what: str) -> str:
    return f"this token may ask for {limit} {what} a minute"

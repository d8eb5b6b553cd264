"""Plain counters that cost next to nothing; whoever shows them reads them when asked.

All are written on the event loop's thread only.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from time import perf_counter

#: upper bounds of durations, in seconds: what takes a kernel, a round, a query, a large network
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
#: upper bounds of how many are done together
COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Level:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, change: int = 1) -> None:
        """More by this."""
        self.value += change

    def dec(self, change: int = 1) -> None:
        """Less by this."""
        self.value -= change


class Histogram:
    """How many values fell at or below each bound; half a microsecond a value.

    Attributes:
        bounds: rising upper bounds.
        sum: of all values.
    """

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def since(self, began: float) -> None:
        """Count the seconds since ``began`` (``time.perf_counter``)."""
        self.observe(perf_counter() - began)

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def cumulative(self) -> list[int]:
        """How many values were at most each bound, and in the end all."""
        return list(accumulate(self._counts))

"""How candidates are compared: all pairs within groups of almost equal size.

The pairs of a sample are numbered group by group, (0, 1), (0, 2), …, (1, 2), … in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Groups:
    """One sample's.

    Attributes:
        candidates: values in a sample.
        groups: into which they are divided in order; the first ones have one more where the
            division leaves a rest.
        keep: how many of each group win.
    """

    candidates: int
    groups: int
    keep: int

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of each group."""
        size, rest = divmod(self.candidates, self.groups)
        return tuple(size + (g < rest) for g in range(self.groups))

    @property
    def largest(self) -> int:
        """Candidates of the largest group."""
        return self.sizes[0]

    @property
    def pairs(self) -> int:
        """Comparisons."""
        return sum(size * (size - 1) // 2 for size in self.sizes)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """For each one-hot bit, (keep · candidates,): its candidate's number, group by group,
        winner by winner."""
        rows = []
        start = 0
        for size in self.sizes:
            rows += [np.arange(start, start + size)] * self.keep
            start += size
        return np.concatenate(rows)

    @cached_property
    def winners(self) -> NDArray[np.int64]:
        """For each one-hot bit, the number of its winner, from 0 to groups · keep − 1."""
        lengths = np.repeat(np.array(self.sizes), self.keep)
        return np.repeat(np.arange(self.groups * self.keep), lengths)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """For each winner, the place of its first one-hot bit."""
        lengths = np.repeat(np.array(self.sizes), self.keep)
        return np.concatenate(([0], np.cumsum(lengths)[:-1]))

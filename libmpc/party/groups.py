"""Bundles that are dealt together: several small ones, or a large one, in pieces.

1. Party 0 asks for ``count`` bundles with numbers that follow each other.
2. The dealer joins their corrections, bundle by bundle and in each in the plan's order, and cuts
   them into pieces: short ones, since a party does nothing else while it takes one.
3. The first piece goes to party 1 with the header, the others right behind it, in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from libmpc.link import Buffer
from libmpc.party.messages import MAX_GROUP, BundleHeader
from libmpc.wire.errors import WireError

PIECE_BYTES = 1 << 19
GROUP_BYTES = 1 << 20
"""Of the corrections of several bundles."""


def largest_group(bundle_bytes: int) -> int:
    """How many bundles of which each has so many bytes of corrections go together."""
    return max(1, min(MAX_GROUP, GROUP_BYTES // max(1, bundle_bytes)))


def pieces(joined: memoryview) -> Iterator[memoryview]:
    """What goes with the header, then what follows it; the first may be empty."""
    yield joined[:PIECE_BYTES]
    for start in range(PIECE_BYTES, len(joined), PIECE_BYTES):
        yield joined[start : start + PIECE_BYTES]


class Arrival:
    """Party 1: a group of which not all pieces have come.

    Args:
        header: the dealer's.
        sizes: bytes of corrections by step, of one bundle.

    Raises:
        WireError: more bundles than are dealt together.
    """

    def __init__(self, header: BundleHeader, sizes: Mapping[int, int]) -> None:
        self.header = header
        self._sizes = sizes
        self._total = header.count * sum(sizes.values())
        if header.count > largest_group(sum(sizes.values())):
            raise WireError("too many bundles at once")
        self._joined = memoryview(b"")
        self._came = 0
        self._next = 0

    def __repr__(self) -> str:
        return f"<Arrival, {self._came} of {self._total} bytes>"

    def take(self, number: int, piece: Buffer) -> bool:
        """Take one piece; true when the group is complete.

        Raises:
            WireError: not the piece that comes next.
        """
        size = min(PIECE_BYTES, self._total - self._came)
        if number != self._next or len(piece) != size or (number and not size):
            raise WireError("an unexpected correction")
        if size == self._total:
            self._joined = memoryview(piece)  # it is the only one
        else:
            if not number:
                self._joined = np.empty(self._total, np.uint8).data
            self._joined[self._came : self._came + size] = piece
        self._next += 1
        self._came += size
        return self._came == self._total

    def corrections(self) -> list[dict[int, memoryview]]:
        """Of each bundle, by step; not copied."""
        found, at = [], 0
        for _ in range(self.header.count):
            parts = {}
            for step, size in self._sizes.items():
                parts[step] = self._joined[at : at + size]
                at += size
            found.append(parts)
        return found

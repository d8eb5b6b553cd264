"""What the four comparing steps promise: ranges, results, costs; and where they could go wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from libmpc.protocol import positive, rectify, relu, truncate
from tests.protocol.harness import MASK, Words, words

CHUNK_EDGES = (0, 4, 8, 12, 16, 21, 26, 31, 36, 42, 47, 48)
SIGN_EDGES = (0, 5, 10, 15, 20, 26, 31, 32, 47, 48)


@dataclass(frozen=True)
class Promise:
    """One step's.

    Attributes:
        low, high: smallest and largest value for which it is exact.
        expected: the result of signed 64-bit integers.
        edges: bits where its chunks begin and end.
        rounds, online, planes, correction: per value bytes, and bits in the round of selections.
    """

    step: ModuleType
    low: int
    high: int
    expected: Callable[[Any], Any]
    edges: tuple[int, ...]
    rounds: int
    online: int
    planes: int
    correction: int

    @property
    def name(self) -> str:
        return self.step.__name__.rpartition(".")[2]

    def of(self, values: Words) -> Words:
        """The promised results, below 2^48."""
        result: Words = self.expected(values.view(np.int64)).view(np.uint64) & MASK
        return result

    def numbers(self) -> list[int]:
        """Integers at and next to every chunk's edge, of both signs, runs of ones, both ends."""
        found = {0, self.low, self.low + 1, self.high - 1, self.high}
        for bit in self.edges:
            for near in (-1, 0, 1):
                found |= {2**bit + near, -(2**bit) + near, 2**16 + 2**bit + near}
        for low in self.edges:
            found |= {2**high - 2**low for high in self.edges if high > low}
        return sorted(found)

    def grid(self) -> tuple[Words, Words]:
        """Every such value in range under every such mask, and with every such number opened."""
        values = [z for z in self.numbers() if self.low <= z <= self.high]
        lams = [lam % 2**48 for lam in self.numbers()]
        pairs = [(z, lam) for z in values for lam in lams]
        pairs += [(z, (m - z) % 2**48) for z in values for m in lams]
        return words(z for z, _ in pairs), words(lam for _, lam in pairs)

    def random(self, count: int, seed: int) -> Words:
        """In range, the larger half of all magnitudes and not only of the largest."""
        rng = np.random.default_rng(seed)
        values = rng.integers(self.low, self.high, count, np.int64, endpoint=True)
        half = 2 * count // 3
        values[:half] >>= rng.integers(0, 47, half)
        return values.view(np.uint64)


RELU = Promise(
    relu,
    -(2**47) + 2**16,
    2**47,
    lambda z: np.maximum(z >> 16, 0),
    CHUNK_EDGES,
    rounds=4,
    online=14,
    planes=2,
    correction=82,
)
TRUNCATE = Promise(
    truncate,
    -(2**46),
    2**46,
    lambda z: z >> 16,
    (*CHUNK_EDGES, 30, 46),
    rounds=4,
    online=13,
    planes=1,
    correction=24,
)
RECTIFY = Promise(
    rectify,
    -(2**31) + 1,
    2**31,
    lambda x: np.maximum(x, 0),
    SIGN_EDGES,
    rounds=3,
    online=8,
    planes=1,
    correction=52,
)
POSITIVE = Promise(
    positive,
    -(2**31) + 1,
    2**31,
    lambda x: (x >= 1).astype(np.int64) << 16,
    SIGN_EDGES,
    rounds=3,
    online=8,
    planes=1,
    correction=46,
)
ALL = (RELU, TRUNCATE, RECTIFY, POSITIVE)

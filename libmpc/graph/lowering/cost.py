"""What a way to compute costs: a public integer, so that everybody folds alike.

The unit is one multiplication of ring elements. Every weight counts as one more: it is shared,
kept and read. A truncation counts 2^20 for each of its 4 rounds, which is what as many
multiplications take as one message between neighbours, and 384 for each value, which is what as
many take as dealing, sending and opening its randomness.
"""

from __future__ import annotations

ROUND = 1 << 20
TRUNCATED = 384
MAX_FOLDED = 1 << 25  # weights of one folded step: 256 MB in float64


def truncation(values: int) -> int:
    """Rounding down ``values`` values."""
    return 4 * ROUND + TRUNCATED * values


ROUNDS = {"relu": 4, "truncate": 4, "rectify": 3, "positive": 3}
STACKED = 1 << 20  # values of steps that are taken together: more would only need more memory

"""The dealer's kernels of wide comparisons: party 0's random half becomes party 1's, in place.

The layout is in ``wide_kernels``, that of the products in ``wide_tables``.

SECURITY: these handle secret masks: no branch, no index and no division may depend on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, INOUT64_2D, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW32 = np.uint64(0xFFFFFFFF)
BELOW = np.uint64((1 << 48) - 1)
SUBSETS_OF_1 = np.uint64(2)
SIXTEEN = np.uint64(16)


@inline
def all_if(mu: Any, bit: Any) -> Any:
    """All ones where this bit of mu is set, else zero."""
    return ZERO - ((mu >> bit) & ONE)


@inline
def thermometer(v: Any) -> Any:
    """[a < v] at place a, for v below 64."""
    return (ONE << v) - ONE


@kernel(U64)
def subsets_of_six(mu: Any) -> Any:
    """Bit S of the result is the product of the mask bits of the first six eqs in S."""
    v = ONE | (SUBSETS_OF_1 & all_if(mu, ZERO))
    v |= (v << np.uint64(2)) & all_if(mu, ONE)
    v |= (v << np.uint64(4)) & all_if(mu, np.uint64(2))
    v |= (v << np.uint64(8)) & all_if(mu, np.uint64(3))
    v |= (v << np.uint64(16)) & all_if(mu, np.uint64(4))
    return v | ((v << np.uint64(32)) & all_if(mu, np.uint64(5)))


@kernel(U64, U64)
def levels_5_to_1(v: Any, mu: Any) -> Any:
    """U_5 to U_1 in one word, from V's low word."""
    word = v & LOW32 & all_if(mu, np.uint64(11))
    word |= (v & np.uint64(0xFFFF) & all_if(mu, np.uint64(10))) << np.uint64(32)
    word |= (v & np.uint64(0xFF) & all_if(mu, np.uint64(9))) << np.uint64(48)
    word |= (v & np.uint64(15) & all_if(mu, np.uint64(8))) << np.uint64(56)
    return word | ((v & np.uint64(3) & all_if(mu, np.uint64(7))) << np.uint64(60))


@kernel(U64, U64, U64)
def top_word(delta: Any, r: Any, ours: Any) -> Any:
    """Party 1's row 7: the table of the top chunk, XORed, and r less party 0's share."""
    v = (delta >> np.uint64(42)) & LOW6
    table = (thermometer(v & LOW5) ^ (ZERO - (v >> np.uint64(5)))) & LOW32
    share = (r - (ours >> np.uint64(48))) << np.uint64(48)
    return ((ours ^ table) & BELOW) | share


@kernel(IN64, IN16, IN16, IN8, IN8, INOUT64_2D)
def deal_wide(deltas: Any, bits0: Any, bits1: Any, select0: Any, select1: Any, words: Any) -> None:
    """All 14 rows."""
    for chunk in range(7):
        row = words[chunk]
        for i in range(deltas.size):
            row[i] ^= thermometer((deltas[i] >> np.uint64(6 * chunk)) & LOW6)
    for i in range(deltas.size):
        both = np.uint64(select0[i >> 3] ^ select1[i >> 3])
        r = (both >> np.uint64(i & 7)) & ONE
        words[7, i] = top_word(deltas[i], r, words[7, i])
        mu = np.uint64(bits0[i] ^ bits1[i])
        low = subsets_of_six(mu)
        high = low & all_if(mu, np.uint64(6))
        lt0 = all_if(mu, np.uint64(13))
        words[8, i] ^= low & lt0
        words[9, i] ^= high & lt0
        words[10, i] ^= low & all_if(mu, np.uint64(12))
        words[11, i] ^= levels_5_to_1(low, mu)
        words[12, i] ^= low
        words[13, i] ^= high

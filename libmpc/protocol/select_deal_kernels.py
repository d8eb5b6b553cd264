"""The dealer's kernels of the selections: party 0's random half becomes party 1's, in place.

What is shared as a ring element, less party 0's share, is party 1's share. Ring elements are packed
(``ring.transfer``). The first rows of a block stay in the cache while the last ones are made.

SECURITY: these handle secret masks: no branch, no index and no division may depend on one. An index
here is a value's number only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN64, INOUT16, INOUT64_2D, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW16 = np.uint64(0xFFFF)
LOW48 = np.uint64(0xFFFFFFFFFFFF)
BLOCK = 512


@inline
def spread(bits0: Any, bits1: Any, out: Any) -> None:
    """r of ``out.size`` values, from both halves of their bits."""
    for at in range(out.size >> 3):
        byte = np.uint64(bits0[at] ^ bits1[at])
        eight = out[8 * at : 8 * at + 8]
        for k in range(8):
            eight[k] = (byte >> np.uint64(k)) & ONE
    for i in range(out.size & ~7, out.size):
        out[i] = (np.uint64(bits0[i >> 3] ^ bits1[i >> 3]) >> np.uint64(i & 7)) & ONE


@inline
def other_half(high: Any, sign: Any, ours: Any) -> Any:
    """Party 1's word of Λ: 48 bits of λ >> 16, and 16 bits of λ_47, each less party 0's share."""
    top = (sign - (ours >> np.uint64(48))) << np.uint64(48)
    return ((high - ours) & LOW48) | top


@inline
def less(values: Any, packed: Any) -> None:
    """The packed ring elements become ``values`` less them."""
    for i in range(values.size):
        ours = np.uint64(packed[3 * i]) | (np.uint64(packed[3 * i + 1]) << np.uint64(16))
        v = values[i] - (ours | (np.uint64(packed[3 * i + 2]) << np.uint64(32)))
        packed[3 * i] = np.uint16(v & LOW16)
        packed[3 * i + 1] = np.uint16((v >> np.uint64(16)) & LOW16)
        packed[3 * i + 2] = np.uint16((v >> np.uint64(32)) & LOW16)


@kernel(IN64, INOUT16)
def deal_values(values: Any, ring: Any) -> None:
    """Any ring elements."""
    less(values, ring)


@kernel(IN64, IN8, IN8, IN8, IN8, INOUT64_2D, INOUT16)
def deal_relu(
    lam: Any, bits0_g: Any, bits1_g: Any, bits0_c: Any, bits1_c: Any, words: Any, ring: Any
) -> None:
    """Rows 6 and 7 of ``words``: Λ and r_g·Λ; ``ring``: r_g, r_c and r_g·r_c."""
    n = lam.size
    scratch = np.empty((2, BLOCK), np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        v = lam[start:stop]
        r_g, r_c = scratch[0][: v.size], scratch[1][: v.size]
        spread(bits0_g[start >> 3 :], bits1_g[start >> 3 :], r_g)
        spread(bits0_c[start >> 3 :], bits1_c[start >> 3 :], r_c)
        row = words[6][start:stop]
        for i in range(v.size):
            high = (v[i] & LOW48) >> np.uint64(16)
            row[i] = other_half(high, high >> np.uint64(31), row[i])
        row = words[7][start:stop]
        for i in range(v.size):
            high = (v[i] & LOW48 & (ZERO - r_g[i])) >> np.uint64(16)
            row[i] = other_half(high, high >> np.uint64(31), row[i])
        less(r_g, ring[3 * start : 3 * stop])
        less(r_c, ring[3 * (n + start) : 3 * (n + stop)])
        for i in range(v.size):
            r_g[i] &= r_c[i]
        less(r_g, ring[3 * (2 * n + start) : 3 * (2 * n + stop)])


@kernel(IN64, IN8, IN8, INOUT64_2D)
def deal_truncate(lam: Any, bits0: Any, bits1: Any, words: Any) -> None:
    """Row 1: Λ; row 2: r_c in 48 bits, above them party 0's bits, as they are."""
    scratch = np.empty(BLOCK, np.uint64)
    for start in range(0, lam.size, BLOCK):
        stop = min(start + BLOCK, lam.size)
        v = lam[start:stop]
        r_c = scratch[: v.size]
        spread(bits0[start >> 3 :], bits1[start >> 3 :], r_c)
        row = words[1][start:stop]
        for i in range(v.size):
            high = (v[i] & LOW48) >> np.uint64(16)
            row[i] = other_half(high, high >> np.uint64(31), row[i])
        row = words[2][start:stop]
        for i in range(v.size):
            row[i] = ((r_c[i] - row[i]) & LOW48) | (row[i] & ~LOW48)


@kernel(IN64, IN8, IN8, INOUT16)
def deal_rectify(lam: Any, bits0: Any, bits1: Any, ring: Any) -> None:
    """r_g and r_g·λ."""
    n = lam.size
    scratch = np.empty(BLOCK, np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        v = lam[start:stop]
        r_g = scratch[: v.size]
        spread(bits0[start >> 3 :], bits1[start >> 3 :], r_g)
        less(r_g, ring[3 * start : 3 * stop])
        for i in range(v.size):
            r_g[i] = v[i] & (ZERO - r_g[i])
        less(r_g, ring[3 * (n + start) : 3 * (n + stop)])


@kernel(IN64, IN8, IN8, INOUT16)
def deal_positive(lam: Any, bits0: Any, bits1: Any, ring: Any) -> None:
    """r_g; of ``lam`` counts the number of values only."""
    scratch = np.empty(BLOCK, np.uint64)
    for start in range(0, lam.size, BLOCK):
        stop = min(start + BLOCK, lam.size)
        r_g = scratch[: stop - start]
        spread(bits0[start >> 3 :], bits1[start >> 3 :], r_g)
        less(r_g, ring[3 * start : 3 * stop])

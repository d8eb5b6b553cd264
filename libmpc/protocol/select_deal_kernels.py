"""The dealer's kernels of the selections: party 1's arithmetic shares from party 0's random ones.

SECURITY: these handle secret masks: no branch, no index and no division may depend on one. An index
here is a value's number only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN64, IN64_2D, OUT64, OUT64_2D, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW48 = np.uint64(0xFFFFFFFFFFFF)


@inline
def bit(bits0: Any, bits1: Any, i: Any) -> Any:
    """r of value i, from both halves."""
    return (np.uint64(bits0[i >> 3] ^ bits1[i >> 3]) >> np.uint64(i & 7)) & ONE


@inline
def other_half(high: Any, sign: Any, ours: Any) -> Any:
    """Party 1's word of Λ: 48 bits of λ >> 16, and 16 bits of λ_47, each less party 0's share."""
    top = (sign - (ours >> np.uint64(48))) << np.uint64(48)
    return ((high - ours) & LOW48) | top


@kernel(IN64, IN64_2D, IN64_2D, IN8, IN8, IN8, IN8, OUT64_2D, OUT64_2D)
def deal_relu(
    lam: Any,
    ours: Any,
    ours_ring: Any,
    bits0_g: Any,
    bits1_g: Any,
    bits0_c: Any,
    bits1_c: Any,
    out: Any,
    out_ring: Any,
) -> None:
    """``out``: Λ and r_g·Λ; ``out_ring``: r_g, r_c and r_g·r_c."""
    for i in range(lam.size):
        r_g = bit(bits0_g, bits1_g, i)
        r_c = bit(bits0_c, bits1_c, i)
        high = (lam[i] & LOW48) >> np.uint64(16)
        sign = high >> np.uint64(31)
        out[0, i] = other_half(high, sign, ours[0, i])
        out[1, i] = other_half(high & (ZERO - r_g), sign & r_g, ours[1, i])
        out_ring[0, i] = r_g - ours_ring[0, i]
        out_ring[1, i] = r_c - ours_ring[1, i]
        out_ring[2, i] = (r_g & r_c) - ours_ring[2, i]


@kernel(IN64, IN64, IN64, IN8, IN8, OUT64, OUT64)
def deal_truncate(
    lam: Any, ours_lam: Any, ours_c: Any, bits0: Any, bits1: Any, out_lam: Any, out_c: Any
) -> None:
    """``out_lam``: Λ; ``out_c``: r_c in 48 bits, above them party 0's bits, as they are."""
    for i in range(lam.size):
        high = (lam[i] & LOW48) >> np.uint64(16)
        out_lam[i] = other_half(high, high >> np.uint64(31), ours_lam[i])
        out_c[i] = ((bit(bits0, bits1, i) - ours_c[i]) & LOW48) | (ours_c[i] & ~LOW48)


@kernel(IN64, IN64_2D, IN8, IN8, OUT64_2D)
def deal_rectify(lam: Any, ours: Any, bits0: Any, bits1: Any, out: Any) -> None:
    """r_g and r_g·λ."""
    for i in range(lam.size):
        r_g = bit(bits0, bits1, i)
        out[0, i] = r_g - ours[0, i]
        out[1, i] = (lam[i] & (ZERO - r_g)) - ours[1, i]


@kernel(IN64_2D, IN8, IN8, OUT64_2D)
def deal_positive(ours: Any, bits0: Any, bits1: Any, out: Any) -> None:
    """r_g."""
    for i in range(ours.shape[1]):
        out[0, i] = bit(bits0, bits1, i) - ours[0, i]

"""Evaluators' kernels that turn opened comparison bits into the result: local, one pass each.

A bit b was opened as b̂ = b ⊕ r, eight values a byte; the dealer has shared r, as 0 or 1 in the
ring, so that b = b̂ + (1 − 2b̂)·r is linear in the shares. x·(1 − 2b̂) is computed as
(x ^ −b̂) + b̂. ``one`` is 1 at party 0, which adds public constants, and 0 at party 1. ``ours`` and
``theirs`` are the two messages; their XOR is open. A word of Λ has a share of Λ's 48 bits, and in
its upper 16 bits a share of λ_47. Arithmetic shares are packed (``ring.transfer``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT64, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW48 = np.uint64(0xFFFFFFFFFFFF)
TWO_46 = np.uint64(1 << 46)
TWO_30 = np.uint64(1 << 30)


@inline
def open_bit(ours: Any, theirs: Any, i: Any) -> Any:
    """b̂ of value i."""
    return (np.uint64(ours[i >> 3] ^ theirs[i >> 3]) >> np.uint64(i & 7)) & ONE


@inline
def six(packed: Any, at: Any) -> Any:
    """The packed ring element number ``at``."""
    low = np.uint64(packed[3 * at]) | (np.uint64(packed[3 * at + 1]) << np.uint64(16))
    return low | (np.uint64(packed[3 * at + 2]) << np.uint64(32))


@inline
def unwrapped(word: Any, opened: Any) -> Any:
    """The share of Λ: λ_47·2^32 is subtracted where the opened value's own top bit is zero."""
    wrap = ((opened >> np.uint64(47)) & ONE) - ONE
    return word - (((word >> np.uint64(48)) << np.uint64(32)) & wrap)


@kernel(IN64, IN8, IN8, IN8, IN8, IN64_2D, IN16, IN64, U64, OUT64)
def choose_relu(
    opened: Any,
    ours_g: Any,
    theirs_g: Any,
    ours_c: Any,
    theirs_c: Any,
    words: Any,
    arithmetic: Any,
    mask: Any,
    one: Any,
    out: Any,
) -> None:
    """[g·(zt − c)]_j + λ_yj; ``words`` are Λ and r_g·Λ, ``arithmetic`` r_g, r_c and r_g·r_c."""
    n = opened.size
    for i in range(n):
        g = open_bit(ours_g, theirs_g, i)
        c = open_bit(ours_c, theirs_c, i)
        if_g = ZERO - g
        if_c = ZERO - c
        m = opened[i] & LOW48
        lam = unwrapped(words[0, i], m)
        r_lam = unwrapped(words[1, i], m)
        r_g = six(arithmetic, i)
        r_c = six(arithmetic, n + i)
        r_gc = six(arithmetic, 2 * n + i)
        g_share = (one & g) + ((r_g ^ if_g) + g)
        g_lam = (lam & if_g) + ((r_lam ^ if_g) + g)
        c_share = (one & c) + ((r_c ^ if_c) + c)
        gc_inner = (r_g & if_c) + ((r_gc ^ if_c) + c)
        g_c = (c_share & if_g) + ((gc_inner ^ if_g) + g)
        out[i] = g_share * (m >> np.uint64(16)) - g_lam - g_c + mask[i]


@kernel(IN64, IN8, IN8, IN64, IN64, IN64, U64, OUT64)
def choose_truncate(
    opened: Any,
    ours: Any,
    theirs: Any,
    lam: Any,
    r_c: Any,
    mask: Any,
    one: Any,
    out: Any,
) -> None:
    """[⌊(z + 2^46) / 2^16⌋ − 2^30]_j + λ_yj; what lies above bit 47 of ``r_c`` does not matter."""
    for i in range(opened.size):
        c = open_bit(ours, theirs, i)
        m = (opened[i] + TWO_46) & LOW48
        share = ((m >> np.uint64(16)) - TWO_30) & (ZERO - one)
        share -= unwrapped(lam[i], m)
        share -= (one & c) + ((r_c[i] ^ (ZERO - c)) + c)
        out[i] = share + mask[i]


@kernel(IN64, IN64, IN8, IN8, IN16, IN64, U64, OUT64)
def choose_rectify(
    m: Any,
    lam: Any,
    ours: Any,
    theirs: Any,
    arithmetic: Any,
    mask: Any,
    one: Any,
    out: Any,
) -> None:
    """[g·(m − λ)]_j + λ_yj; ``lam`` is the own λ_j of m, ``arithmetic`` r_g and r_g·λ."""
    n = m.size
    for i in range(n):
        g = open_bit(ours, theirs, i)
        if_g = ZERO - g
        g_share = (one & g) + ((six(arithmetic, i) ^ if_g) + g)
        g_lam = (lam[i] & if_g) + ((six(arithmetic, n + i) ^ if_g) + g)
        out[i] = g_share * m[i] - g_lam + mask[i]


@kernel(IN8, IN8, IN16, IN64, U64, OUT64)
def choose_positive(ours: Any, theirs: Any, r_g: Any, mask: Any, one: Any, out: Any) -> None:
    """[g·2^16]_j + λ_yj."""
    for i in range(mask.size):
        g = open_bit(ours, theirs, i)
        share = (one & g) + ((six(r_g, i) ^ (ZERO - g)) + g)
        out[i] = (share << np.uint64(16)) + mask[i]

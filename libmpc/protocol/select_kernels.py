"""Evaluators' kernels that turn opened comparison bits into the result: local, one pass each.

A bit b was opened as b̂ = b ⊕ r, eight values a byte; the dealer has shared r, as 0 or 1 in the
ring, so that b = b̂ + (1 − 2b̂)·r is linear in the shares. x·(1 − 2b̂) is computed as
(x ^ −b̂) + b̂. ``one`` is 1 at party 0, which adds public constants, and 0 at party 1. ``ours`` and
``theirs`` are the two messages; their XOR is open. A word of Λ has a share of Λ's 48 bits, and in
its upper 16 bits a share of λ_47. Arithmetic shares are packed (``ring.transfer``).

The results have λ_yj in them; they are written twice, as words and packed for the peer, six bytes
each. Blocks, whose size is a multiple of eight, keep bits and packing apart from the arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT16, OUT64, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW16 = np.uint64(0xFFFF)
LOW48 = np.uint64(0xFFFFFFFFFFFF)
TWO_46 = np.uint64(1 << 46)
TWO_30 = np.uint64(1 << 30)
BLOCK = 512


@inline
def open_bits(ours: Any, theirs: Any, at: Any, start: Any, stop: Any, bits: Any) -> None:
    """b̂ of values ``start`` to ``stop``, and up to seven more; byte ``at`` has the first ones."""
    first = at + (start >> 3)
    for b in range((stop - start + 7) >> 3):
        byte = np.uint64(ours[first + b] ^ theirs[first + b])
        for k in range(8):
            bits[8 * b + k] = (byte >> np.uint64(k)) & ONE


@inline
def pack(values: Any, start: Any, stop: Any, packed: Any) -> None:
    """Values ``start`` to ``stop``, three little-endian 16-bit words each."""
    for i in range(start, stop):
        v = values[i]
        packed[3 * i] = np.uint16(v & LOW16)
        packed[3 * i + 1] = np.uint16((v >> np.uint64(16)) & LOW16)
        packed[3 * i + 2] = np.uint16((v >> np.uint64(32)) & LOW16)


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


@kernel(IN64, IN8, IN8, IN64_2D, IN16, IN64, U64, OUT64, OUT16)
def choose_relu(
    opened: Any,
    ours: Any,
    theirs: Any,
    words: Any,
    arithmetic: Any,
    mask: Any,
    one: Any,
    out: Any,
    packed: Any,
) -> None:
    """[g·(zt − c)]_j + λ_yj; ``words`` are Λ and r_g·Λ, ``arithmetic`` r_g, r_c and r_g·r_c.

    The messages have all bits of g, then all of c.
    """
    n = opened.size
    of_g = np.empty(BLOCK, np.uint64)
    of_c = np.empty(BLOCK, np.uint64)
    part = np.empty(BLOCK, np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        open_bits(ours, theirs, 0, start, stop, of_g)
        open_bits(ours, theirs, ours.size >> 1, start, stop, of_c)
        # Two loops, since a cache has places for few arrays of which each begins a page.
        for i in range(start, stop):
            g = of_g[i - start]
            c = of_c[i - start]
            if_g = ZERO - g
            if_c = ZERO - c
            c_share = (one & c) + ((six(arithmetic, n + i) ^ if_c) + c)
            gc_inner = (six(arithmetic, i) & if_c) + ((six(arithmetic, 2 * n + i) ^ if_c) + c)
            g_c = (c_share & if_g) + ((gc_inner ^ if_g) + g)
            part[i - start] = mask[i] - g_c
        for i in range(start, stop):
            g = of_g[i - start]
            if_g = ZERO - g
            m = opened[i] & LOW48
            lam = unwrapped(words[0, i], m)
            r_lam = unwrapped(words[1, i], m)
            g_share = (one & g) + ((six(arithmetic, i) ^ if_g) + g)
            g_lam = (lam & if_g) + ((r_lam ^ if_g) + g)
            out[i] = g_share * (m >> np.uint64(16)) - g_lam + part[i - start]
        pack(out, start, stop, packed)


@kernel(IN64, IN8, IN8, IN64, IN64, IN64, U64, OUT64, OUT16)
def choose_truncate(
    opened: Any,
    ours: Any,
    theirs: Any,
    lam: Any,
    r_c: Any,
    mask: Any,
    one: Any,
    out: Any,
    packed: Any,
) -> None:
    """[⌊(z + 2^46) / 2^16⌋ − 2^30]_j + λ_yj; what lies above bit 47 of ``r_c`` does not matter."""
    n = opened.size
    of_c = np.empty(BLOCK, np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        open_bits(ours, theirs, 0, start, stop, of_c)
        for i in range(start, stop):
            c = of_c[i - start]
            m = (opened[i] + TWO_46) & LOW48
            share = ((m >> np.uint64(16)) - TWO_30) & (ZERO - one)
            share -= unwrapped(lam[i], m)
            share -= (one & c) + ((r_c[i] ^ (ZERO - c)) + c)
            out[i] = share + mask[i]
        pack(out, start, stop, packed)


@kernel(IN64, IN64, IN8, IN8, IN16, IN64, U64, OUT64, OUT16)
def choose_rectify(
    m: Any,
    lam: Any,
    ours: Any,
    theirs: Any,
    arithmetic: Any,
    mask: Any,
    one: Any,
    out: Any,
    packed: Any,
) -> None:
    """[g·(m − λ)]_j + λ_yj; ``lam`` is the own λ_j of m, ``arithmetic`` r_g and r_g·λ."""
    n = m.size
    of_g = np.empty(BLOCK, np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        open_bits(ours, theirs, 0, start, stop, of_g)
        for i in range(start, stop):
            g = of_g[i - start]
            if_g = ZERO - g
            g_share = (one & g) + ((six(arithmetic, i) ^ if_g) + g)
            g_lam = (lam[i] & if_g) + ((six(arithmetic, n + i) ^ if_g) + g)
            out[i] = g_share * m[i] - g_lam + mask[i]
        pack(out, start, stop, packed)


@kernel(IN8, IN8, IN16, IN64, U64, OUT64, OUT16)
def choose_positive(
    ours: Any, theirs: Any, r_g: Any, mask: Any, one: Any, out: Any, packed: Any
) -> None:
    """[g·2^16]_j + λ_yj."""
    n = mask.size
    of_g = np.empty(BLOCK, np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        open_bits(ours, theirs, 0, start, stop, of_g)
        for i in range(start, stop):
            g = of_g[i - start]
            share = (one & g) + ((six(r_g, i) ^ (ZERO - g)) + g)
            out[i] = (share << np.uint64(16)) + mask[i]
        pack(out, start, stop, packed)

"""Evaluators' kernels of the fused ReLU: one pass each over all values of a layer.

An array of ``tables`` is (8, n): six words of tables and products, then the shares of Λ and r_g·Λ,
whose upper 16 bits carry the shares of λ_47 and r_g·λ_47. ``arithmetic`` is (3, n): the shares of
r_g, r_c and r_g·r_c. A table over a chunk of w bits has, at place a, the bit [a < v] for the
dealer's chunk v; place 2^w − 1 is always zero, except where a product lies there:

    row 0   chunk 4 of g (6 bits)
    row 1   chunks 0 and 1 of g (5 bits each, 32 places each)
    row 2   chunks 2 and 3 of g
    row 3   low half: top chunk of g, [a < v mod 32] ⊕ λ_47; high half: products
    row 4   chunks 0 to 3 of c (4 bits, 16 places each); products at places 15 and 31
    row 5   products

What decides a shift or an index here is open to both evaluators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT8, OUT16, OUT64, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW2 = np.uint64(3)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW32 = np.uint64(0xFFFFFFFF)
LOW48 = np.uint64(0xFFFFFFFFFFFF)
C_PRODUCT_PLACES = np.uint64(1 << 15 | 1 << 31)
NO_CARRY_5 = np.uint64(0xFFFFFFFEFFFFFFFE)
NO_CARRY_4 = np.uint64(0xFFFEFFFEFFFEFFFE)


@kernel(U64)
def parity(x: Any) -> Any:
    """XOR of a word's bits."""
    x ^= x >> np.uint64(32)
    x ^= x >> np.uint64(16)
    x ^= x >> np.uint64(8)
    x ^= x >> np.uint64(4)
    return (np.uint64(0x6996) >> (x & LOW4)) & ONE


@inline
def two_bits(packed: Any, i: Any) -> Any:
    """The two bits of value i: bit 0 belongs to g, bit 1 to c."""
    return (np.uint64(packed[i >> 2]) >> np.uint64(2 * (i & 3))) & LOW2


@kernel(IN64, IN64_2D, IN16, U64, OUT16, OUT8)
def compare(opened: Any, tables: Any, bits: Any, one: Any, message: Any, linear: Any) -> None:
    """Shares of the 16 comparison bits under own masks, and the two that enter linearly.

    ``one`` is 1 at party 0, which adds public constants, and 0 at party 1. In ``linear``, bit 0 is
    the share of 1 ⊕ msbT, bit 1 that of c's lt3.
    """
    ones = ZERO - one
    for i in range(opened.size):
        m = opened[i]
        a = (m >> np.uint64(16)) - ONE
        t = tables[0, i]
        at = (a >> np.uint64(20)) & LOW6
        out = ((t >> at) & ONE) << np.uint64(5)
        t ^= (t << ONE) ^ one
        out |= ((t >> at) & ONE) << np.uint64(1)

        t = tables[1, i]
        e = t ^ ((t << ONE) & NO_CARRY_5) ^ (~NO_CARRY_5 & ones)
        at = a & LOW5
        out |= ((t >> at) & ONE) << np.uint64(9)
        at = ((a >> np.uint64(5)) & LOW5) | np.uint64(32)
        out |= ((t >> at) & ONE) << np.uint64(8)
        out |= ((e >> at) & ONE) << np.uint64(4)

        t = tables[2, i]
        e = t ^ ((t << ONE) & NO_CARRY_5) ^ (~NO_CARRY_5 & ones)
        at = (a >> np.uint64(10)) & LOW5
        out |= ((t >> at) & ONE) << np.uint64(7)
        out |= ((e >> at) & ONE) << np.uint64(3)
        at = ((a >> np.uint64(15)) & LOW5) | np.uint64(32)
        out |= ((t >> at) & ONE) << np.uint64(6)
        out |= ((e >> at) & ONE) << np.uint64(2)

        t = tables[3, i] & LOW32
        e = t ^ (t << ONE) ^ (t >> np.uint64(31)) ^ one
        at = (a >> np.uint64(26)) & LOW5
        out |= (e >> at) & ONE
        g_linear = ((t >> at) ^ ((a >> np.uint64(31)) & one) ^ one) & ONE

        t = tables[4, i] & ~C_PRODUCT_PLACES
        e = t ^ ((t << ONE) & NO_CARRY_4) ^ (~NO_CARRY_4 & ones)
        at = m & LOW4
        out |= ((t >> at) & ONE) << np.uint64(15)
        at = ((m >> np.uint64(4)) & LOW4) | np.uint64(16)
        out |= ((t >> at) & ONE) << np.uint64(14)
        out |= ((e >> at) & ONE) << np.uint64(12)
        at = ((m >> np.uint64(8)) & LOW4) | np.uint64(32)
        out |= ((t >> at) & ONE) << np.uint64(13)
        out |= ((e >> at) & ONE) << np.uint64(11)
        at = ((m >> np.uint64(12)) & LOW4) | np.uint64(48)
        out |= ((e >> at) & ONE) << np.uint64(10)
        linear[i] = g_linear | (((t >> at) & ONE) << ONE)
        message[i] = out ^ np.uint64(bits[i])


@kernel(IN16, IN8, IN64_2D, IN16, IN8, U64, IN64, IN64, IN64, OUT8)
def combine(
    opened: Any,
    linear: Any,
    tables: Any,
    bits: Any,
    select: Any,
    one: Any,
    products_g: Any,
    rest_g: Any,
    rest_c: Any,
    message: Any,
) -> None:
    """Shares of g and c from the 16 opened bits, under own masks, four values a byte."""
    n = opened.size
    for at in range(message.size):
        byte = np.uint64(select[at])
        for i in range(4 * at, min(4 * at + 4, n)):
            o = np.uint64(opened[i])
            row4 = tables[4, i]
            rest = (
                (tables[3, i] >> np.uint64(32))
                | (np.uint64(bits[i]) << np.uint64(32))
                | ((row4 & np.uint64(1 << 15)) << np.uint64(33))
                | ((row4 & np.uint64(1 << 31)) << np.uint64(18))
                | (one << np.uint64(50))
            )
            of_g = np.int64(o & np.uint64(0x3FF))
            of_c = np.int64(o >> np.uint64(10))
            g = parity((tables[5, i] & products_g[of_g]) ^ (rest & rest_g[of_g]))
            c = parity(rest & rest_c[of_c])
            byte ^= (np.uint64(linear[i]) ^ g ^ (c << ONE)) << np.uint64(2 * (i & 3))
        message[at] = byte


@kernel(IN64, IN8, IN8, IN64_2D, IN64_2D, IN64, U64, OUT64)
def choose(
    opened: Any,
    ours: Any,
    theirs: Any,
    tables: Any,
    arithmetic: Any,
    mask: Any,
    one: Any,
    out: Any,
) -> None:
    """[g·(zt − c)]_j + λ_yj from the opened ĝ = g ⊕ r_g and ĉ = c ⊕ r_c."""
    for i in range(opened.size):
        bits = two_bits(ours, i) ^ two_bits(theirs, i)
        g = bits & ONE
        c = bits >> ONE
        if_g = ZERO - g
        if_c = ZERO - c
        m = opened[i] & LOW48
        # λ_47 is subtracted (times 2^32) where the opened value's own top bit is zero.
        wrap = (m >> np.uint64(47)) - ONE
        a = tables[6, i]
        b = tables[7, i]
        lam = a - (((a >> np.uint64(48)) << np.uint64(32)) & wrap)
        r_lam = b - (((b >> np.uint64(48)) << np.uint64(32)) & wrap)
        r_g = arithmetic[0, i]
        r_c = arithmetic[1, i]
        r_gc = arithmetic[2, i]
        # x·(1 − 2g) is (x ^ −g) + g
        g_share = (one & g) + ((r_g ^ if_g) + g)
        g_lam = (lam & if_g) + ((r_lam ^ if_g) + g)
        c_share = (one & c) + ((r_c ^ if_c) + c)
        gc_inner = (r_g & if_c) + ((r_gc ^ if_c) + c)
        g_c = (c_share & if_g) + ((gc_inner ^ if_g) + g)
        out[i] = g_share * (m >> np.uint64(16)) - g_lam - g_c + mask[i]

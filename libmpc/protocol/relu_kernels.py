"""Kernels of the fused ReLU: one pass each over all values of a layer.

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

SECURITY: the ``deal`` kernels handle secret masks: no branch and no index may depend on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT8, OUT16, OUT64, OUT64_2D, U64, inline
from libmpc.ring.jit import kernel as _kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
TWO = np.uint64(2)
LOW2 = np.uint64(3)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW16 = np.uint64(0xFFFF)
LOW32 = np.uint64(0xFFFFFFFF)
LOW48 = np.uint64(0xFFFFFFFFFFFF)
C_PRODUCT_PLACES = np.uint64(1 << 15 | 1 << 31)
NO_CARRY_5 = np.uint64(0xFFFFFFFEFFFFFFFE)
NO_CARRY_4 = np.uint64(0xFFFEFFFEFFFEFFFE)


@_kernel(U64)
def parity(x: Any) -> Any:
    """XOR of a word's bits."""
    x ^= x >> np.uint64(32)
    x ^= x >> np.uint64(16)
    x ^= x >> np.uint64(8)
    x ^= x >> np.uint64(4)
    return (np.uint64(0x6996) >> (x & LOW4)) & ONE


@_kernel(U64)
def table5(v: Any) -> Any:
    """[a < v] at place a, for a chunk of up to 6 bits."""
    return (ONE << v) - ONE


@_kernel(U64)
def table_of_top(high: Any) -> Any:
    """Low half of row 3 for λ's bits 16 to 47: [a < v mod 32] ⊕ λ_47 at place a."""
    sign = (high >> np.uint64(31)) & ONE
    return (table5((high >> np.uint64(26)) & LOW5) ^ (ZERO - sign)) & LOW32


@_kernel(U64)
def tables_of_c(low: Any) -> Any:
    """Row 4 (products left out) for λ's bits 0 to 15."""
    t01 = table5(low & LOW4) | (table5((low >> np.uint64(4)) & LOW4) << np.uint64(16))
    t23 = table5((low >> np.uint64(8)) & LOW4) | (
        table5((low >> np.uint64(12)) & LOW4) << np.uint64(16)
    )
    return t01 | (t23 << np.uint64(32))


@inline
def all_if(mu: Any, bit: Any) -> Any:
    """All ones where this bit of mu is set, else zero."""
    return ZERO - ((mu >> bit) & ONE)


@_kernel(U64)
def subsets_of_g(mu: Any) -> Any:
    """Bit S of the result is the product of mask bits over the subset S of g's eq bits."""
    v = TWO * (mu & ONE) + ONE
    v |= (v << np.uint64(2)) & all_if(mu, np.uint64(1))
    v |= (v << np.uint64(4)) & all_if(mu, np.uint64(2))
    v |= (v << np.uint64(8)) & all_if(mu, np.uint64(3))
    v |= (v << np.uint64(16)) & all_if(mu, np.uint64(4))
    return v


@_kernel(U64)
def products_in_row5(mu: Any) -> Any:
    """64 of g's products of mask bits; the order is that of ``relu_tables.places``."""
    v = subsets_of_g(mu)
    w = v >> ONE
    word = w & np.uint64(0x7FFFFFFF) & all_if(mu, np.uint64(9))
    word |= (w & np.uint64(0x7FFF) & all_if(mu, np.uint64(8))) << np.uint64(31)
    word |= (w & np.uint64(0x7F) & all_if(mu, np.uint64(7))) << np.uint64(46)
    word |= (w & np.uint64(7) & all_if(mu, np.uint64(6))) << np.uint64(53)
    word |= (w & ONE & (mu >> np.uint64(5))) << np.uint64(56)
    return word | (v >> np.uint64(9)) << np.uint64(57)


@_kernel(U64)
def subsets_of_c(mu: Any) -> Any:
    """Bit S of the result is the product of mask bits over the subset S of c's eq bits."""
    u = TWO * ((mu >> np.uint64(10)) & ONE) + ONE
    u |= (u << np.uint64(2)) & all_if(mu, np.uint64(11))
    u |= (u << np.uint64(4)) & all_if(mu, np.uint64(12))
    return u


@_kernel(U64)
def products_in_row3(mu: Any) -> Any:
    """The high half of row 3: 19 of g's and 13 of c's products."""
    v = subsets_of_g(mu)
    half = (v >> np.uint64(17)) & np.uint64(0x7FFF)
    half |= ((v >> np.uint64(5)) & np.uint64(7)) << np.uint64(15)
    half |= ((v >> np.uint64(3)) & ONE) << np.uint64(18)
    u = subsets_of_c(mu)
    w = u >> ONE
    half |= (w & np.uint64(0x7F) & all_if(mu, np.uint64(15))) << np.uint64(19)
    half |= (w & np.uint64(7) & all_if(mu, np.uint64(14))) << np.uint64(26)
    half |= ((u >> np.uint64(5)) & np.uint64(7)) << np.uint64(29)
    return half << np.uint64(32)


@_kernel(U64)
def products_in_row4(mu: Any) -> Any:
    """The last two of c's products, at places 15 and 31."""
    u = subsets_of_c(mu)
    first = (u >> ONE) & ONE & (mu >> np.uint64(13))
    return (first << np.uint64(15)) | (((u >> np.uint64(3)) & ONE) << np.uint64(31))


@inline
def two_bits(packed: Any, i: Any) -> Any:
    """The two bits of value i: bit 0 belongs to g, bit 1 to c."""
    return (np.uint64(packed[i >> 2]) >> np.uint64(2 * (i & 3))) & LOW2


@_kernel(IN64, IN64_2D, IN16, IN16, OUT64_2D)
def deal_tables(lam: Any, ours: Any, bits0: Any, bits1: Any, out: Any) -> None:
    """Rows 0 to 5 of party 1's half, from λ, party 0's half and both evaluators' mask bits.

    One loop a row: with few arrays in each, the compiler makes vectors of them.
    """
    n = lam.size
    mine, row = ours[0], out[0]
    for i in range(n):
        row[i] = mine[i] ^ table5((lam[i] >> np.uint64(36)) & LOW6)
    mine, row = ours[1], out[1]
    for i in range(n):
        v = lam[i] >> np.uint64(16)
        pair = table5(v & LOW5) | (table5((v >> np.uint64(5)) & LOW5) << np.uint64(32))
        row[i] = mine[i] ^ pair
    mine, row = ours[2], out[2]
    for i in range(n):
        v = lam[i] >> np.uint64(26)
        pair = table5(v & LOW5) | (table5((v >> np.uint64(5)) & LOW5) << np.uint64(32))
        row[i] = mine[i] ^ pair
    mine, row = ours[3], out[3]
    for i in range(n):
        mu = np.uint64(bits0[i]) ^ np.uint64(bits1[i])
        row[i] = mine[i] ^ table_of_top(lam[i] >> np.uint64(16)) ^ products_in_row3(mu)
    mine, row = ours[4], out[4]
    for i in range(n):
        mu = np.uint64(bits0[i]) ^ np.uint64(bits1[i])
        row[i] = mine[i] ^ tables_of_c(lam[i]) ^ products_in_row4(mu)
    mine, row = ours[5], out[5]
    for i in range(n):
        mu = np.uint64(bits0[i]) ^ np.uint64(bits1[i])
        row[i] = mine[i] ^ products_in_row5(mu)


@_kernel(IN64, IN64_2D, IN64_2D, IN8, IN8, OUT64_2D, OUT64_2D)
def deal_arithmetic(
    lam: Any,
    ours: Any,
    ours_ring: Any,
    select0: Any,
    select1: Any,
    out: Any,
    out_ring: Any,
) -> None:
    """Rows 6 and 7 of party 1's half, and its shares of r_g, r_c and r_g·r_c."""
    for i in range(lam.size):
        r = two_bits(select0, i) ^ two_bits(select1, i)
        r_g = r & ONE
        r_c = r >> ONE
        only_g = ZERO - r_g
        high = (lam[i] & LOW48) >> np.uint64(16)
        sign = high >> np.uint64(31)
        a = ours[6, i]
        b = ours[7, i]
        out[6, i] = ((high - a) & LOW48) | ((sign - (a >> np.uint64(48))) << np.uint64(48))
        out[7, i] = (((high & only_g) - b) & LOW48) | (
            ((sign & r_g) - (b >> np.uint64(48))) << np.uint64(48)
        )
        out_ring[0, i] = r_g - ours_ring[0, i]
        out_ring[1, i] = r_c - ours_ring[1, i]
        out_ring[2, i] = (r_g & r_c) - ours_ring[2, i]


@_kernel(IN64, IN64_2D, IN16, U64, OUT16, OUT8)
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


@_kernel(IN16, IN8, IN64_2D, IN16, IN8, U64, IN64, IN64, IN64, OUT8)
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


@_kernel(IN64, IN8, IN8, IN64_2D, IN64_2D, IN64, U64, OUT64)
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

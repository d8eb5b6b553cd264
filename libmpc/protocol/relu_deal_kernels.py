"""The dealer's kernels of the fused ReLU: party 1's half from λ and party 0's random half.

The layout is in ``relu_kernels``, the order of the products in ``relu_tables``.

SECURITY: these handle secret masks: no branch, no index and no division may depend on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT64_2D, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
TWO = np.uint64(2)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW32 = np.uint64(0xFFFFFFFF)
LOW48 = np.uint64(0xFFFFFFFFFFFF)


@kernel(U64)
def thermometer(v: Any) -> Any:
    """[a < v] at place a, for v below 64."""
    return (ONE << v) - ONE


@kernel(U64)
def table_of_top(high: Any) -> Any:
    """Low half of row 3 for λ's bits 16 to 47: [a < v mod 32] ⊕ λ_47 at place a."""
    sign = (high >> np.uint64(31)) & ONE
    return (thermometer((high >> np.uint64(26)) & LOW5) ^ (ZERO - sign)) & LOW32


@kernel(U64)
def tables_of_c(low: Any) -> Any:
    """Row 4 (products left out) for λ's bits 0 to 15."""
    t01 = thermometer(low & LOW4) | (thermometer((low >> np.uint64(4)) & LOW4) << np.uint64(16))
    t23 = thermometer((low >> np.uint64(8)) & LOW4) | (
        thermometer((low >> np.uint64(12)) & LOW4) << np.uint64(16)
    )
    return t01 | (t23 << np.uint64(32))


@inline
def all_if(mu: Any, bit: Any) -> Any:
    """All ones where this bit of mu is set, else zero."""
    return ZERO - ((mu >> bit) & ONE)


@kernel(U64)
def subsets_of_g(mu: Any) -> Any:
    """Bit S of the result is the product of mask bits over the subset S of g's eq bits."""
    v = TWO * (mu & ONE) + ONE
    v |= (v << np.uint64(2)) & all_if(mu, np.uint64(1))
    v |= (v << np.uint64(4)) & all_if(mu, np.uint64(2))
    v |= (v << np.uint64(8)) & all_if(mu, np.uint64(3))
    v |= (v << np.uint64(16)) & all_if(mu, np.uint64(4))
    return v


@kernel(U64)
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


@kernel(U64)
def subsets_of_c(mu: Any) -> Any:
    """Bit S of the result is the product of mask bits over the subset S of c's eq bits."""
    u = TWO * ((mu >> np.uint64(10)) & ONE) + ONE
    u |= (u << np.uint64(2)) & all_if(mu, np.uint64(11))
    u |= (u << np.uint64(4)) & all_if(mu, np.uint64(12))
    return u


@kernel(U64)
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


@kernel(U64)
def products_in_row4(mu: Any) -> Any:
    """The last two of c's products, at places 15 and 31."""
    u = subsets_of_c(mu)
    first = (u >> ONE) & ONE & (mu >> np.uint64(13))
    return (first << np.uint64(15)) | (((u >> np.uint64(3)) & ONE) << np.uint64(31))


@kernel(IN64, IN64_2D, IN16, IN16, OUT64_2D)
def deal_tables(lam: Any, ours: Any, bits0: Any, bits1: Any, out: Any) -> None:
    """Rows 0 to 5 of party 1's half, from λ, party 0's half and both evaluators' mask bits.

    One loop a row: with few arrays in each, the compiler makes vectors of them.
    """
    n = lam.size
    mine, row = ours[0], out[0]
    for i in range(n):
        row[i] = mine[i] ^ thermometer((lam[i] >> np.uint64(36)) & LOW6)
    mine, row = ours[1], out[1]
    for i in range(n):
        v = lam[i] >> np.uint64(16)
        pair = thermometer(v & LOW5) | (thermometer((v >> np.uint64(5)) & LOW5) << np.uint64(32))
        row[i] = mine[i] ^ pair
    mine, row = ours[2], out[2]
    for i in range(n):
        v = lam[i] >> np.uint64(26)
        pair = thermometer(v & LOW5) | (thermometer((v >> np.uint64(5)) & LOW5) << np.uint64(32))
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


@kernel(IN64, IN64_2D, IN64_2D, IN8, IN8, OUT64_2D, OUT64_2D)
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
        r = np.uint64(select0[i >> 2] ^ select1[i >> 2]) >> np.uint64(2 * (i & 3))
        r_g = r & ONE
        r_c = (r >> ONE) & ONE
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

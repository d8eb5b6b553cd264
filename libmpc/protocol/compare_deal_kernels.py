"""The dealer's kernels of the comparisons: party 1's half from λ and party 0's random half.

The layout is in ``compare_kernels``, the order of the products in ``compare_tables``.

SECURITY: these handle secret masks: no branch, no index and no division may depend on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT64, OUT64_2D, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
TWO = np.uint64(2)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW32 = np.uint64(0xFFFFFFFF)


@kernel(U64)
def thermometer(v: Any) -> Any:
    """[a < v] at place a, for v below 64."""
    return (ONE << v) - ONE


@kernel(U64)
def table_of_top(high: Any) -> Any:
    """Low half of row 3 for the dealer's 32 bits: [a < v mod 32] ⊕ v_31 at place a."""
    sign = (high >> np.uint64(31)) & ONE
    return (thermometer((high >> np.uint64(26)) & LOW5) ^ (ZERO - sign)) & LOW32


@kernel(U64)
def tables_of_c(low: Any) -> Any:
    """The borrow part's word, products left out, for the dealer's 16 bits."""
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
def products_in_row4(mu: Any) -> Any:
    """64 of g's products of mask bits; the order is that of ``compare_tables.places_of_g``."""
    v = subsets_of_g(mu)
    w = v >> ONE
    word = w & np.uint64(0x7FFFFFFF) & all_if(mu, np.uint64(9))
    word |= (w & np.uint64(0x7FFF) & all_if(mu, np.uint64(8))) << np.uint64(31)
    word |= (w & np.uint64(0x7F) & all_if(mu, np.uint64(7))) << np.uint64(46)
    word |= (w & np.uint64(7) & all_if(mu, np.uint64(6))) << np.uint64(53)
    word |= (w & ONE & (mu >> np.uint64(5))) << np.uint64(56)
    return word | (v >> np.uint64(9)) << np.uint64(57)


@kernel(U64)
def products_in_row3(mu: Any) -> Any:
    """The other 19 of g's products, from place 32 on."""
    v = subsets_of_g(mu)
    half = (v >> np.uint64(17)) & np.uint64(0x7FFF)
    half |= ((v >> np.uint64(5)) & np.uint64(7)) << np.uint64(15)
    half |= ((v >> np.uint64(3)) & ONE) << np.uint64(18)
    return half << np.uint64(32)


@kernel(U64)
def subsets_of_c(mu: Any) -> Any:
    """Bit S of the result is the product of mask bits over the subset S of c's eq bits."""
    u = TWO * (mu & ONE) + ONE
    u |= (u << np.uint64(2)) & all_if(mu, ONE)
    u |= (u << np.uint64(4)) & all_if(mu, np.uint64(2))
    return u


@kernel(U64)
def products_in_spare(mu: Any) -> Any:
    """11 of c's products, from place 51 on; the order is that of ``compare_tables.places_of_c``."""
    w = subsets_of_c(mu) >> ONE
    word = w & np.uint64(0x7F) & all_if(mu, np.uint64(5))
    word |= (w & np.uint64(7) & all_if(mu, np.uint64(4))) << np.uint64(7)
    word |= (w & ONE & (mu >> np.uint64(3))) << np.uint64(10)
    return word << np.uint64(51)


@kernel(U64)
def products_in_word(mu: Any) -> Any:
    """The last four of c's products, at places 15, 31, 47 and 63."""
    u = subsets_of_c(mu)
    first = ((u >> np.uint64(5)) & ONE) << np.uint64(15)
    first |= ((u >> np.uint64(6)) & ONE) << np.uint64(31)
    first |= ((u >> np.uint64(7)) & ONE) << np.uint64(47)
    return first | (((u >> np.uint64(3)) & ONE) << np.uint64(63))


@kernel(IN64, U64, IN64_2D, IN16, IN16, OUT64_2D)
def deal_sign(lam: Any, shift: Any, ours: Any, bits0: Any, bits1: Any, out: Any) -> None:
    """Rows 0 to 4 of party 1's half, for the 32 bits of λ from ``shift`` on.

    One loop a row: with few arrays in each, the compiler makes vectors of them.
    """
    n = lam.size
    mine, row = ours[0], out[0]
    for i in range(n):
        row[i] = mine[i] ^ thermometer((lam[i] >> shift >> np.uint64(20)) & LOW6)
    mine, row = ours[1], out[1]
    for i in range(n):
        v = lam[i] >> shift
        pair = thermometer(v & LOW5) | (thermometer((v >> np.uint64(5)) & LOW5) << np.uint64(32))
        row[i] = mine[i] ^ pair
    mine, row = ours[2], out[2]
    for i in range(n):
        v = lam[i] >> shift >> np.uint64(10)
        pair = thermometer(v & LOW5) | (thermometer((v >> np.uint64(5)) & LOW5) << np.uint64(32))
        row[i] = mine[i] ^ pair
    mine, row = ours[3], out[3]
    for i in range(n):
        mu = np.uint64(bits0[i]) ^ np.uint64(bits1[i])
        row[i] = mine[i] ^ table_of_top(lam[i] >> shift) ^ products_in_row3(mu)
    mine, row = ours[4], out[4]
    for i in range(n):
        mu = np.uint64(bits0[i]) ^ np.uint64(bits1[i])
        row[i] = mine[i] ^ products_in_row4(mu)


@kernel(IN64, IN64, IN8, IN8, OUT64, OUT64)
def deal_borrow(lam: Any, ours: Any, bits0: Any, bits1: Any, out: Any, spare: Any) -> None:
    """The borrow part's word of party 1's half, and its products put into the spare places."""
    for i in range(lam.size):
        mu = np.uint64(bits0[i]) ^ np.uint64(bits1[i])
        out[i] = ours[i] ^ tables_of_c(lam[i]) ^ products_in_word(mu)
        spare[i] ^= products_in_spare(mu)

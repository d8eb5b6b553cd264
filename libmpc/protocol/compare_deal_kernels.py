"""The dealer's kernels of the comparisons: party 0's random half becomes party 1's, in place.

The layout is in ``compare_kernels``, the order of the products in ``compare_tables``. There is one
loop a row, since with few arrays in each the compiler makes vectors of them; over a block, since
what they read then stays in the cache.

SECURITY: these handle secret masks: no branch, no index and no division may depend on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN16, IN64, INOUT64_2D, INT, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
TWO = np.uint64(2)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW32 = np.uint64(0xFFFFFFFF)
BLOCK = 512


@kernel(U64)
def thermometer(v: Any) -> Any:
    """[a < v] at place a, for v below 64."""
    return (ONE << v) - ONE


@inline
def pair(v: Any) -> Any:
    """Two tables of five bits, 32 places each."""
    return thermometer(v & LOW5) | (thermometer((v >> np.uint64(5)) & LOW5) << np.uint64(32))


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


@kernel(IN64, U64, IN16, IN16, INOUT64_2D)
def deal_sign(lam: Any, shift: Any, bits0: Any, bits1: Any, words: Any) -> None:
    """Rows 0 to 4, for the 32 bits of λ from ``shift`` on."""
    for start in range(0, lam.size, BLOCK):
        stop = min(start + BLOCK, lam.size)
        # Parts from 0 on: an index that may be negative, for all that the compiler knows, is slow.
        v = lam[start:stop]
        half0, half1 = bits0[start:stop], bits1[start:stop]
        row = words[0][start:stop]
        for i in range(v.size):
            row[i] ^= thermometer((v[i] >> shift >> np.uint64(20)) & LOW6)
        row = words[1][start:stop]
        for i in range(v.size):
            row[i] ^= pair(v[i] >> shift)
        row = words[2][start:stop]
        for i in range(v.size):
            row[i] ^= pair(v[i] >> shift >> np.uint64(10))
        row = words[3][start:stop]
        for i in range(v.size):
            mu = np.uint64(half0[i] ^ half1[i])
            row[i] ^= table_of_top(v[i] >> shift) ^ products_in_row3(mu)
        row = words[4][start:stop]
        for i in range(v.size):
            row[i] ^= products_in_row4(np.uint64(half0[i] ^ half1[i]))


@kernel(IN64, IN16, IN16, U64, INOUT64_2D, INT, INT)
def deal_borrow(
    lam: Any, bits0: Any, bits1: Any, shift: Any, words: Any, own: int, spare: int
) -> None:
    """Row ``own``, and its products in the spare places of another; c's bits from ``shift`` on."""
    word, rest = words[own], words[spare]
    for i in range(lam.size):
        mu = np.uint64(bits0[i] ^ bits1[i]) >> shift
        word[i] ^= tables_of_c(lam[i]) ^ products_in_word(mu)
        rest[i] ^= products_in_spare(mu)

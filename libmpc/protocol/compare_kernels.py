"""Evaluators' kernels of the comparisons: one pass each over all values of a layer.

The sign part tells g = [d ≥ 1] for a 32-bit difference d of a number that both know and one that
the dealer knows; the borrow part tells c = [a < v] for 16 bits of them. A table over a chunk of w
bits has, at place a, the bit [a < v] for the dealer's chunk v; place 2^w − 1 is always zero, except
where a product lies there. The words of the sign part, XOR-shared, are five rows:

    row 0   chunk 4 of g (6 bits)
    row 1   chunks 0 and 1 of g (5 bits each, 32 places each)
    row 2   chunks 2 and 3 of g
    row 3   low half: top chunk of g, [a < v mod 32] ⊕ v_31; from place 32 on: 19 products
    row 4   64 products

Those of the borrow part are one word and some places of another one:

    word    chunks 0 to 3 of c (4 bits, 16 places each); products at places 15, 31, 47 and 63
    spare   11 products from place 51 on

What decides a shift or an index here is open to both evaluators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT8, OUT16, U64, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW32 = np.uint64(0xFFFFFFFF)
NO_CARRY_5 = np.uint64(0xFFFFFFFEFFFFFFFE)
NO_CARRY_4 = np.uint64(0xFFFEFFFEFFFEFFFE)
NO_PRODUCTS = np.uint64(0x7FFF7FFF7FFF7FFF)


@kernel(U64)
def parity(x: Any) -> Any:
    """XOR of a word's bits."""
    x ^= x >> np.uint64(32)
    x ^= x >> np.uint64(16)
    x ^= x >> np.uint64(8)
    x ^= x >> np.uint64(4)
    return (np.uint64(0x6996) >> (x & LOW4)) & ONE


@kernel(IN64, U64, IN64_2D, U64, OUT16)
def compare_sign(opened: Any, shift: Any, tables: Any, one: Any, bits: Any) -> None:
    """Shares of what g is made of, for the 32 bits of ``opened`` from ``shift`` on.

    ``one`` is 1 at party 0, which adds public constants, and 0 at party 1. Bits 0 to 9 occur in
    products (``compare_tables``), bit 10 is 1 ⊕ msbT, which enters g as it is.
    """
    ones = ZERO - one
    for i in range(opened.size):
        a = (opened[i] >> shift) - ONE
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
        linear = ((t >> at) ^ ((a >> np.uint64(31)) & one) ^ one) & ONE
        bits[i] = out | (linear << np.uint64(10))


@kernel(IN64, IN64, U64, OUT8)
def compare_borrow(opened: Any, table: Any, one: Any, bits: Any) -> None:
    """Shares of what c is made of, for the low 16 bits of ``opened``.

    Bits 0 to 5 occur in products, bit 6 is lt3, which enters c as it is.
    """
    ones = ZERO - one
    for i in range(opened.size):
        m = opened[i]
        t = table[i] & NO_PRODUCTS
        e = t ^ ((t << ONE) & NO_CARRY_4) ^ (~NO_CARRY_4 & ones)
        at = m & LOW4
        out = ((t >> at) & ONE) << np.uint64(5)
        at = ((m >> np.uint64(4)) & LOW4) | np.uint64(16)
        out |= ((t >> at) & ONE) << np.uint64(4)
        out |= ((e >> at) & ONE) << np.uint64(2)
        at = ((m >> np.uint64(8)) & LOW4) | np.uint64(32)
        out |= ((t >> at) & ONE) << np.uint64(3)
        out |= ((e >> at) & ONE) << ONE
        at = ((m >> np.uint64(12)) & LOW4) | np.uint64(48)
        out |= (e >> at) & ONE
        bits[i] = out | (((t >> at) & ONE) << np.uint64(6))


@kernel(IN16, IN16, IN64_2D, IN16, IN8, U64, IN64, IN64, OUT8)
def combine_sign(
    opened: Any,
    shares: Any,
    tables: Any,
    masks: Any,
    select: Any,
    one: Any,
    products: Any,
    rest: Any,
    message: Any,
) -> None:
    """Shares of g from the ten opened bits, under own masks, eight values a byte.

    Above bit 9, ``opened`` and ``masks`` may hold anything; ``shares`` is from ``compare_sign``.
    """
    n = opened.size
    for at in range(message.size):
        byte = np.uint64(select[at])
        for i in range(8 * at, min(8 * at + 8, n)):
            o = np.int64(opened[i]) & 0x3FF
            word = (tables[3, i] >> np.uint64(32)) & np.uint64(0x7FFFF)
            word |= (np.uint64(masks[i]) & np.uint64(0x3FF)) << np.uint64(32)
            word |= one << np.uint64(50)
            g = parity((tables[4, i] & products[o]) ^ (word & rest[o]))
            g ^= (np.uint64(shares[i]) >> np.uint64(10)) & ONE
            byte ^= g << np.uint64(i & 7)
        message[at] = byte


@kernel(IN8, IN8, IN64, IN64, IN8, IN8, U64, IN64, OUT8)
def combine_borrow(
    opened: Any,
    shares: Any,
    table: Any,
    spare: Any,
    masks: Any,
    select: Any,
    one: Any,
    rest: Any,
    message: Any,
) -> None:
    """Shares of c from the six opened bits, under own masks, eight values a byte.

    Above bit 5, ``opened`` and ``masks`` may hold anything; ``shares`` is from ``compare_borrow``.
    """
    n = opened.size
    for at in range(message.size):
        byte = np.uint64(select[at])
        for i in range(8 * at, min(8 * at + 8, n)):
            t = table[i]
            word = (spare[i] >> np.uint64(51)) & np.uint64(0x7FF)
            word |= ((t >> np.uint64(15)) & ONE) << np.uint64(11)
            word |= ((t >> np.uint64(31)) & ONE) << np.uint64(12)
            word |= ((t >> np.uint64(47)) & ONE) << np.uint64(13)
            word |= (t >> np.uint64(63)) << np.uint64(14)
            word |= (np.uint64(masks[i]) & np.uint64(0x3F)) << np.uint64(32)
            word |= one << np.uint64(50)
            c = parity(word & rest[np.int64(opened[i]) & 0x3F])
            c ^= (np.uint64(shares[i]) >> np.uint64(6)) & ONE
            byte ^= c << np.uint64(i & 7)
        message[at] = byte

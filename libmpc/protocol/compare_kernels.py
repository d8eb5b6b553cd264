"""Evaluators' kernels of the first comparing round: from what is open to the message, in one pass.

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

What decides a shift or an index here is open to both evaluators. ``one`` is 1 at party 0, which
adds public constants, and 0 at party 1. A message has the bits that occur in products
(``compare_tables``), each under an own mask bit; ``kept`` has what enters the result as it is:

    bit 0   1 ⊕ msbT of g
    bit 1   lt3 of c

The kernels go by blocks that stay in the first cache, so that each loop is a simple one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT8, OUT16, OUT64, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW4 = np.uint64(15)
LOW5 = np.uint64(31)
LOW6 = np.uint64(63)
LOW10 = np.uint64(0x3FF)
LOW32 = np.uint64(0xFFFFFFFF)
NO_CARRY_5 = np.uint64(0xFFFFFFFEFFFFFFFE)
NO_CARRY_4 = np.uint64(0xFFFEFFFEFFFEFFFE)
NO_PRODUCTS = np.uint64(0x7FFF7FFF7FFF7FFF)
BLOCK = 512


@inline
def sign_shares(a: Any, tables: Any, i: Any, one: Any) -> Any:
    """Shares of what g of value i is made of; ``a`` is the difference's open part less one.

    Bits 0 to 9 occur in products, bit 10 is 1 ⊕ msbT.
    """
    ones = ZERO - one
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
    return out | (linear << np.uint64(10))


@inline
def borrow_shares(m: Any, table: Any, i: Any, one: Any) -> Any:
    """Shares of what c of value i is made of, for the low 16 bits of ``m``.

    Bits 0 to 5 occur in products, bit 6 is lt3.
    """
    t = table[i] & NO_PRODUCTS
    e = t ^ ((t << ONE) & NO_CARRY_4) ^ (~NO_CARRY_4 & (ZERO - one))
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
    return out | (((t >> at) & ONE) << np.uint64(6))


@inline
def open_values(share: Any, theirs: Any, start: Any, stop: Any, opened: Any) -> None:
    """Values ``start`` to ``stop`` of M: our words and the other's packed ones."""
    for i in range(start, stop):
        low = np.uint64(theirs[3 * i]) | (np.uint64(theirs[3 * i + 1]) << np.uint64(16))
        opened[i] = share[i] + (low | (np.uint64(theirs[3 * i + 2]) << np.uint64(32)))


@kernel(IN64, IN16, IN64_2D, IN64, IN16, U64, OUT64, OUT8, OUT16)
def compare_relu(
    share: Any,
    theirs: Any,
    tables: Any,
    borrow: Any,
    masks: Any,
    one: Any,
    opened: Any,
    kept: Any,
    message: Any,
) -> None:
    """M, and shares for g from bit 16 on and for c; the message has g's ten bits, then c's six."""
    n = share.size
    signs = np.empty(BLOCK, np.uint64)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        open_values(share, theirs, start, stop, opened)
        for i in range(start, stop):
            a = (opened[i] >> np.uint64(16)) - ONE
            signs[i - start] = sign_shares(a, tables, i, one)
        for i in range(start, stop):
            of_g = signs[i - start]
            of_c = borrow_shares(opened[i], borrow, i, one)
            kept[i] = (of_g >> np.uint64(10)) | ((of_c >> np.uint64(6)) << ONE)
            # SECURITY: the bits tell how M compares with λ, and so what z is; each needs its own
            # mask.
            message[i] = ((of_g & LOW10) | ((of_c & LOW6) << np.uint64(10))) ^ np.uint64(masks[i])


@kernel(IN64, IN16, IN64, IN8, U64, OUT64, OUT8, OUT8)
def compare_truncate(
    share: Any,
    theirs: Any,
    borrow: Any,
    masks: Any,
    one: Any,
    opened: Any,
    kept: Any,
    message: Any,
) -> None:
    """M, and shares for c; the message has its six bits."""
    n = share.size
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        open_values(share, theirs, start, stop, opened)
        for i in range(start, stop):
            of_c = borrow_shares(opened[i], borrow, i, one)
            kept[i] = (of_c >> np.uint64(6)) << ONE
            # SECURITY: as in ``compare_relu``.
            message[i] = (of_c & LOW6) ^ np.uint64(masks[i])


@kernel(IN64, IN64_2D, IN16, U64, OUT8, OUT16)
def compare_sign(m: Any, tables: Any, masks: Any, one: Any, kept: Any, message: Any) -> None:
    """Shares for g of the low 32 bits of a masked value; the message has its ten bits."""
    for i in range(m.size):
        of_g = sign_shares(m[i] - ONE, tables, i, one)
        kept[i] = of_g >> np.uint64(10)
        # SECURITY: as in ``compare_relu``.
        message[i] = (of_g & LOW10) ^ np.uint64(masks[i])

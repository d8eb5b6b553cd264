"""Evaluators' kernels of the second comparing round: from opened bits to shares of g and c.

The opened bits, the XOR of both messages, choose which shared products of mask bits to add up
(``compare_tables``); the words, ``kept`` and ``one`` are as in ``compare_kernels``. The message has
a share of each selection bit under an own random bit of ``select``, eight values a byte; where
there are two bits, all of g come before all of c.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, IN64_2D, OUT8, U64, inline, kernel

ONE = np.uint64(1)
LOW4 = np.uint64(15)
LOW6 = np.uint64(0x3F)
LOW10 = np.uint64(0x3FF)
LOW11 = np.uint64(0x7FF)
LOW19 = np.uint64(0x7FFFF)


@kernel(U64)
def parity(x: Any) -> Any:
    """XOR of a word's bits."""
    x ^= x >> np.uint64(32)
    x ^= x >> np.uint64(16)
    x ^= x >> np.uint64(8)
    x ^= x >> np.uint64(4)
    return (np.uint64(0x6996) >> (x & LOW4)) & ONE


@inline
def share_of_g(o: Any, tables: Any, mask: Any, i: Any, one: Any, in_4: Any, in_3: Any) -> Any:
    """The share of what g's ten opened bits make up; ``mask`` has the own mask bits."""
    word = (tables[3, i] >> np.uint64(32)) & LOW19
    word |= (mask & LOW10) << np.uint64(32)
    word |= one << np.uint64(50)
    return parity((tables[4, i] & in_4[o]) ^ (word & in_3[o]))


@inline
def share_of_c(o: Any, table: Any, spare: Any, mask: Any, i: Any, one: Any, rest: Any) -> Any:
    """The same of c's six opened bits."""
    t = table[i]
    word = (spare[i] >> np.uint64(51)) & LOW11
    word |= ((t >> np.uint64(15)) & ONE) << np.uint64(11)
    word |= ((t >> np.uint64(31)) & ONE) << np.uint64(12)
    word |= ((t >> np.uint64(47)) & ONE) << np.uint64(13)
    word |= (t >> np.uint64(63)) << np.uint64(14)
    word |= (mask & LOW6) << np.uint64(32)
    word |= one << np.uint64(50)
    return parity(word & rest[o])


@kernel(IN16, IN16, IN8, IN64_2D, IN64, IN64, IN16, IN8, U64, IN64, IN64, IN64, OUT8)
def combine_relu(
    ours: Any,
    theirs: Any,
    kept: Any,
    tables: Any,
    borrow: Any,
    spare: Any,
    masks: Any,
    select: Any,
    one: Any,
    products: Any,
    rest_g: Any,
    rest_c: Any,
    message: Any,
) -> None:
    """Shares of g, then of c; the messages before have g's ten bits, then c's six."""
    n = ours.size
    half = message.size >> 1
    for at in range(half):
        byte_g = np.uint64(select[at])
        byte_c = np.uint64(select[half + at])
        for i in range(8 * at, min(8 * at + 8, n)):
            o = np.uint64(ours[i] ^ theirs[i])
            mask = np.uint64(masks[i])
            own = np.uint64(kept[i])
            g = share_of_g(o & LOW10, tables, mask, i, one, products, rest_g)
            o >>= np.uint64(10)
            mask >>= np.uint64(10)
            c = share_of_c(o, borrow, spare, mask, i, one, rest_c)
            byte_g ^= (g ^ (own & ONE)) << np.uint64(i & 7)
            byte_c ^= (c ^ (own >> ONE)) << np.uint64(i & 7)
        message[at] = byte_g
        message[half + at] = byte_c


@kernel(IN8, IN8, IN8, IN64, IN64, IN8, IN8, U64, IN64, OUT8)
def combine_truncate(
    ours: Any,
    theirs: Any,
    kept: Any,
    borrow: Any,
    spare: Any,
    masks: Any,
    select: Any,
    one: Any,
    rest: Any,
    message: Any,
) -> None:
    """Shares of c; what lies above its six bits in the messages before does not matter."""
    n = ours.size
    for at in range(message.size):
        byte = np.uint64(select[at])
        for i in range(8 * at, min(8 * at + 8, n)):
            o = np.uint64(ours[i] ^ theirs[i]) & LOW6
            c = share_of_c(o, borrow, spare, np.uint64(masks[i]), i, one, rest)
            byte ^= (c ^ (np.uint64(kept[i]) >> ONE)) << np.uint64(i & 7)
        message[at] = byte


@kernel(IN16, IN16, IN8, IN64_2D, IN16, IN8, U64, IN64, IN64, OUT8)
def combine_sign(
    ours: Any,
    theirs: Any,
    kept: Any,
    tables: Any,
    masks: Any,
    select: Any,
    one: Any,
    products: Any,
    rest: Any,
    message: Any,
) -> None:
    """Shares of g; what lies above its ten bits in the messages before does not matter."""
    n = ours.size
    for at in range(message.size):
        byte = np.uint64(select[at])
        for i in range(8 * at, min(8 * at + 8, n)):
            o = np.uint64(ours[i] ^ theirs[i]) & LOW10
            g = share_of_g(o, tables, np.uint64(masks[i]), i, one, products, rest)
            byte ^= (g ^ (np.uint64(kept[i]) & ONE)) << np.uint64(i & 7)
        message[at] = byte

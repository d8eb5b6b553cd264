"""Evaluators' kernels of the wide comparison: whether a 48-bit difference is negative.

D is open to both evaluators, δ the dealer's; d = D − δ. Tables as in ``compare_kernels``, over
chunks of six bits. XOR-shared words of a comparison:

    rows 0–6    table of δ's bits 6 i to 6 i + 5, places 0 to 62
    row 7       places 0–31: [a < v mod 32] ⊕ v_5 for the top chunk v; from place 48 on: an
                additive share of the select bit r modulo 2^16
    rows 8–13   products of mask bits (``wide_tables``): U_7 in two words, U_6, U_5 to U_1, V in two

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
LOW7 = np.uint64(127)
LOW32 = np.uint64(0xFFFFFFFF)


@kernel(U64)
def parity(x: Any) -> Any:
    """XOR of a word's bits."""
    x ^= x >> np.uint64(32)
    x ^= x >> np.uint64(16)
    x ^= x >> np.uint64(8)
    x ^= x >> np.uint64(4)
    return (np.uint64(0x6996) >> (x & LOW4)) & ONE


@kernel(U64)
def at_levels(v: Any) -> Any:
    """The lowest 2^c places of V for levels 5 to 1, where these lie in their common word."""
    word = v & LOW32
    word |= (v & np.uint64(0xFFFF)) << np.uint64(32)
    word |= (v & np.uint64(0xFF)) << np.uint64(48)
    word |= (v & LOW4) << np.uint64(56)
    return word | ((v & np.uint64(3)) << np.uint64(60))


@kernel(IN64, IN64_2D, IN16, U64, OUT8, OUT16)
def compare_wide(
    differences: Any, tables: Any, masks: Any, one: Any, kept: Any, message: Any
) -> None:
    """Shares of the 14 bits that occur in products, under own masks; ``kept``: of 1 ⊕ msbT.

    ``one`` is 1 at party 0, which adds public constants, and 0 at party 1.
    """
    for i in range(differences.size):
        a = differences[i]
        out = ZERO
        for chunk in range(7):
            at = (a >> np.uint64(6 * chunk)) & LOW6
            t = tables[chunk, i]
            out |= ((t >> at) & ONE) << np.uint64(13 - chunk)
            if chunk > 0:
                t ^= (t << ONE) ^ one
                out |= ((t >> at) & ONE) << np.uint64(7 - chunk)
        t = tables[7, i] & LOW32
        e = t ^ (t << ONE) ^ (t >> np.uint64(31)) ^ one
        at = (a >> np.uint64(42)) & LOW5
        out |= (e >> at) & ONE
        kept[i] = np.uint8(((t >> at) ^ ((a >> np.uint64(47)) & one) ^ one) & ONE)
        # SECURITY: the bits tell how D compares with δ, and so what d is; each needs its own mask.
        # Bits 14 and 15 of the message are bits of the mask alone.
        message[i] = np.uint16(out) ^ masks[i]


@kernel(IN16, IN16, IN8, IN64_2D, IN8, IN64_2D, IN64, OUT8)
def combine_wide(
    ours: Any,
    theirs: Any,
    kept: Any,
    tables: Any,
    select: Any,
    weights: Any,
    gates: Any,
    message: Any,
) -> None:
    """Shares of [d ≥ 0] from the 14 opened bits, under own masks, eight values a byte.

    What lies above bit 13 in the messages before does not matter.
    """
    n = ours.size
    for at in range(message.size):
        byte = np.uint64(select[at])
        for i in range(8 * at, min(8 * at + 8, n)):
            o = np.uint64(ours[i] ^ theirs[i])
            eqs = np.int64(o & LOW7)
            lt0 = ZERO - ((o >> np.uint64(13)) & ONE)
            lt1 = ZERO - ((o >> np.uint64(12)) & ONE)
            gate = gates[np.int64((o >> np.uint64(7)) & LOW5)]
            low, high = tables[12, i], tables[13, i]
            x = (tables[8, i] ^ (low & lt0)) & weights[0, eqs]
            x ^= (tables[9, i] ^ (high & lt0)) & weights[1, eqs]
            x ^= (tables[10, i] ^ (low & lt1)) & weights[2, eqs]
            x ^= (tables[11, i] ^ (at_levels(low) & gate)) & weights[3, eqs]
            g = parity(x) ^ np.uint64(kept[i])
            byte ^= g << np.uint64(i & 7)
        message[at] = np.uint8(byte)

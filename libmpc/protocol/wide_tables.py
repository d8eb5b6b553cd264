"""Which products of mask bits to add once the bits of a wide comparison are open.

The sign of a 48-bit difference is 1 ⊕ msbT ⊕ Σ_c eq_1·…·eq_c·lt_c over levels c = 1 to 7, where
eq_1, …, eq_7 = eqT, eq6, …, eq1 and lt_c = lt(7−c). The opened bits, from bit 0 on:

    eqT  eq6  eq5  eq4  eq3  eq2  eq1  lt6  lt5  lt4  lt3  lt2  lt1  lt0

The dealer shares V, at place S the product of the mask bits of the eqs in S (bit i of the number S:
the i-th of them), and for each level U_c, at place S < 2^c that product times the mask of lt_c.
With o open and μ masked, b = o ⊕ μ, a level's share is the parity of

    (U_c ⊕ o_lt·V) · W_c[o],   W_c[o] at place S: 1 if o has every eq of the level that is not in S

so few constants are enough: W_c by the seven opened eqs, and which levels have o_lt = 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EQS = 7
PLACES = {5: 0, 4: 32, 3: 48, 2: 56, 1: 60}
"""First place of levels 5 to 1 in the word that they share."""


def _complete(level: int, opened: int) -> int:
    """W_c of the opened eqs."""
    everything = (1 << level) - 1
    return sum(1 << s for s in range(1 << level) if (s | opened) & everything == everything)


def _weights() -> NDArray[np.uint64]:
    table = np.zeros((4, 1 << EQS), np.uint64)
    low = (1 << 64) - 1
    for opened in range(1 << EQS):
        seven = _complete(7, opened)
        table[0, opened], table[1, opened] = seven & low, seven >> 64
        table[2, opened] = _complete(6, opened)
        table[3, opened] = sum(_complete(c, opened) << at for c, at in PLACES.items())
    table.flags.writeable = False
    return table


def _gates() -> NDArray[np.uint64]:
    gates = np.zeros(32, np.uint64)
    for opened in range(32):
        gates[opened] = sum(
            ((1 << (1 << c)) - 1) << at for c, at in PLACES.items() if opened >> (c - 1) & 1
        )
    gates.flags.writeable = False
    return gates


WEIGHTS = _weights()
"""(4, 128): both words of W_7, W_6, and W_5 to W_1 in one word."""
GATES = _gates()
"""(32,): ones at the places of levels 1 to 5 whose lt is open as 1, by lt6 to lt2."""

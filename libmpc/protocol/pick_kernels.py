"""The evaluators' kernel of ``pick``: from opened one-hot bits to shares of the winners' values.

``ours`` and ``theirs`` are the two messages, eight bits a byte; their XOR is open. Arithmetic
shares are packed (``ring.transfer``). ``one`` is 1 at party 0, which adds public constants, and 0
at party 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN16, IN64, INT, OUT16, OUT64, U64, inline, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW16 = np.uint64(0xFFFF)


@inline
def six(packed: Any, at: Any) -> Any:
    """The packed ring element number ``at``."""
    low = np.uint64(packed[3 * at]) | (np.uint64(packed[3 * at + 1]) << np.uint64(16))
    return low | (np.uint64(packed[3 * at + 2]) << np.uint64(32))


@kernel(IN64, IN64, IN8, IN8, IN16, IN64, U64, INT, INT, INT, OUT64, OUT16)
def choose_pick(
    m: Any,
    lam: Any,
    ours: Any,
    theirs: Any,
    arithmetic: Any,
    mask: Any,
    one: Any,
    candidates: Any,
    groups: Any,
    keep: Any,
    out: Any,
    packed: Any,
) -> None:
    """[Σ e·(m − λ)]_j + λ_yj of every winner, also packed.

    ``lam`` is the own λ_j of m, ``arithmetic`` ρ and ρ·λ of every one-hot bit.
    """
    n = m.size * keep
    bit = 0
    start = 0
    winner = 0
    for number in range(m.size // candidates * groups):
        size = candidates // groups
        if number % groups < candidates % groups:
            size += 1
        for _ in range(keep):
            total = mask[winner]
            for i in range(start, start + size):
                both = np.uint64(ours[bit >> 3] ^ theirs[bit >> 3])
                e = (both >> np.uint64(bit & 7)) & ONE
                if_e = ZERO - e
                e_share = (one & e) + ((six(arithmetic, bit) ^ if_e) + e)
                e_lam = (lam[i] & if_e) + ((six(arithmetic, n + bit) ^ if_e) + e)
                total += e_share * m[i] - e_lam
                bit += 1
            out[winner] = total
            packed[3 * winner] = np.uint16(total & LOW16)
            packed[3 * winner + 1] = np.uint16((total >> np.uint64(16)) & LOW16)
            packed[3 * winner + 2] = np.uint16((total >> np.uint64(32)) & LOW16)
            winner += 1
        start += size

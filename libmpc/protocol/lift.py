"""Lift: a masked value at scale 2^16 becomes an additive one at scale 2^32, the same number.

1. P_0 holds [z]_0 = (m − λ_0)·2^16, P_1 holds [z]_1 = −λ_1·2^16. Nothing is missing.

With another shift than 16 it multiplies by another power of two.

Rounds: 0.  Sends: nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.protocol.cost import Cost

Ring = NDArray[np.uint64]
SHIFT = 16


def cost(count: int) -> Cost:
    """Of any number of values."""
    return Cost()


def deal(count: int) -> Ring:
    """What only the dealer knows of the result: nothing, (n,) zeros."""
    return np.zeros(count, np.uint64)


def prepare(mask: Ring, shift: int = SHIFT) -> Ring:
    """Evaluator j's −λ_j·2^shift, (n,): all of [z]_j at party 1."""
    prepared: Ring = np.negative(mask.reshape(-1)) << np.uint64(shift)
    return prepared


def evaluate(party: int, m: Ring, prepared: Ring, shift: int = SHIFT) -> Ring:
    """[z]_j, (n,), from m, any shape."""
    return prepared + (m.reshape(-1) << np.uint64(shift)) if party == 0 else prepared

"""Product of two masked values, value by value: additive a·b at scale 2^32.

1. a·b = m_a·m_b − m_a·λ_b − λ_a·m_b + λ_a·λ_b, with m_a = a + λ_a and m_b = b + λ_b.
2. P_0 holds [z]_0 = m_a·(m_b − λ_b0) − λ_a0·m_b,
   P_1 holds [z]_1 = m_a·(−λ_b1)      − λ_a1·m_b.
3. λ_a·λ_b is missing, and only the dealer knows it, as with a linear layer.

Rounds: 0.  Sends: nothing.  Source: as ``linear``; both factors' masks are fresh in every run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.protocol.cost import Cost

Ring = NDArray[np.uint64]


def cost(count: int) -> Cost:
    """Of any number of values."""
    return Cost()


@dataclass(frozen=True, eq=False, repr=False)
class PreparedProduct:
    """What an evaluator knows of both factors beforehand: λ_aj and λ_bj, (n,)."""

    mask_a: Ring
    mask_b: Ring

    def __repr__(self) -> str:
        return f"PreparedProduct(values={self.mask_a.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.mask_a.nbytes + self.mask_b.nbytes


def deal(mask_a: Ring, mask_b: Ring) -> Ring:
    """The dealer's λ_a·λ_b, flat, from λ_0 + λ_1 of each factor."""
    product: Ring = mask_a.reshape(-1) * mask_b.reshape(-1)
    return product


def prepare(mask_a: Ring, mask_b: Ring) -> PreparedProduct:
    """Evaluator j's λ_aj and λ_bj, any shape."""
    return PreparedProduct(mask_a.reshape(-1), mask_b.reshape(-1))


def evaluate(party: int, a: Ring, b: Ring, prepared: PreparedProduct) -> Ring:
    """[z]_j, (n,), from m_a and m_b, any shape."""
    a, b = a.reshape(-1), b.reshape(-1)
    share: Ring = a * (b - prepared.mask_b) if party == 0 else a * np.negative(prepared.mask_b)
    share -= prepared.mask_a * b
    return share

"""Borrow: XOR shares of c = [M mod 2^16 < λ mod 2^16], the part that makes truncation exact.

Local pieces of ``relu`` and ``truncate``, which own the rounds. M is open, λ the dealer's; c enters
the floor: ⌊z/2^16⌋ = (M>>16) − (λ>>16) − c for z = M − λ, up to the wrap of the ring.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.protocol import compare_kernels as kernels
from libmpc.protocol import compare_tables as constants
from libmpc.protocol.shared_bits import Bits8

Ring = NDArray[np.uint64]


def compare(opened: Ring, table: Ring, one: np.uint64) -> Bits8:
    """Shares of the six bits that occur in products, and in bit 6 of lt3, which does not."""
    shares = np.empty(opened.size, np.uint8)
    kernels.compare_borrow(opened, table, one, shares)
    return shares


def combine(
    opened: Bits8,
    shares: Bits8,
    table: Ring,
    spare: Ring,
    masks: Bits8,
    select: Bits8,
    one: np.uint64,
) -> Bits8:
    """Shares of c under ``select``, eight values a byte."""
    message = np.empty(select.size, np.uint8)
    kernels.combine_borrow(
        opened, shares, table, spare, masks, select, one, constants.REST_C, message
    )
    return message

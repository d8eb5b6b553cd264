"""Mask: an additive value at scale 2^32 becomes a masked one, the same number at the same scale.

1. What only the dealer knows of z = [z]_0 + [z]_1 + d is shared, as in ``output``: u_0 is drawn
   with party 0, u_1 = d − u_0 is a correction for party 1.
2. P_j sends [z]_j + u_j + λ_j; both have m = z + λ_0 + λ_1.

Rounds: 1.  Sends: 6 bytes a value; dealer to party 1: 6 bytes.  Source: as ``input``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import output
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, Payload
from libmpc.protocol.shared_bits import draw_mask
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(rounds=1, online_bytes=BYTES * count, correction_bytes=BYTES * count)


@dataclass(frozen=True, eq=False, repr=False)
class PreparedMask:
    """What an evaluator adds, u_j + λ_j, and λ_j alone; (n,) each."""

    added: Ring
    mask: Ring

    def __repr__(self) -> str:
        return f"PreparedMask(values={self.mask.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.added.nbytes + self.mask.nbytes


def deal(step: int, missing: Ring, stream0: Stream, stream1: Stream, correction: Payload) -> Ring:
    """λ_0 + λ_1, (n,), from what is missing, any shape; the correction is overwritten."""
    output.deal(step, missing, stream0, correction)
    return draw_mask(step, missing.size, stream0, stream1)


def prepare(
    step: int, party: int, count: int, stream: Stream, correction: Payload | None
) -> PreparedMask:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have 6 bytes a value.
    """
    added = output.prepare(step, party, count, stream, correction)
    mask = input_step.draw_mask(step, count, stream)
    # SECURITY: λ_j is fresh for this step; u_j alone would show [z]_j to the dealer.
    return PreparedMask(added + mask, mask)


async def evaluate(
    step: int, share: Ring, prepared: PreparedMask, exchange: Exchange, compute: Compute
) -> Ring:
    """m = z + λ, (n,), from [z]_j, any shape.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    return await input_step.evaluate(step, share, prepared.added, exchange, compute)

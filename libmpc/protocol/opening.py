"""Opening: an additive z becomes open to both evaluators under a mask that the dealer knows.

1. P_j draws γ_j and sends [z]_j + γ_j.
2. Both have M = z + λ with λ = γ_0 + γ_1 − d, where d is what is missing of z = [z]_0 + [z]_1 + d.
   The dealer sets λ that way, so a linear layer before an opening costs no correction.

Every step that opens a value draws its own γ_j, so a value may be opened any number of times.

Rounds: 1.  Sends: 6 bytes a value.  Source: masks chosen before the value, as in ``input``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange, round_tag, swap
from libmpc.protocol.purposes import Purpose
from libmpc.ring import transfer

Ring = NDArray[np.uint64]
SECONDS_PER_VALUE = 1e-9
"""To pack a share."""


def draw(step: int, count: int, stream: Stream) -> Ring:
    """γ_j, (count,): at evaluator j, which adds it to its share of z, and at the dealer alike."""
    # SECURITY: fresh for every step that opens; one mask for two values shows their difference.
    return stream.words(step, Purpose.OPENING, count)


def deal(step: int, missing: Ring, stream0: Stream, stream1: Stream) -> Ring:
    """The dealer's λ, (n,), from the d of the value that is opened, any shape."""
    lam = draw(step, missing.size, stream0)
    lam += draw(step, missing.size, stream1)
    lam -= missing.reshape(-1)
    return lam


async def evaluate(
    step: int, share: Ring, exchange: Exchange, compute: Compute
) -> NDArray[np.uint16]:
    """The other's part of M, packed; ours is [z]_j + γ_j, (n,). The step's round 0.

    Comparing kernels add the two up: they are the only ones that read M.
    """
    message = await compute.run(share.size * SECONDS_PER_VALUE, transfer.packed, share)
    return await swap(exchange, round_tag(step, 0), message)

"""Output of bits: XOR shares leave for the client.

1. The evaluators draw a bit r from their own stream for every bit and XOR it to their shares.

Rounds: 0.  Sends: nothing between the parties.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol import bits
from libmpc.protocol.purposes import Purpose

Ring = NDArray[np.uint64]


def rerandomise(step: int, share: Ring, stream: Stream) -> Ring:
    """[b]_j ⊕ r, each 0 or 1: what an evaluator may send to the client.

    ``share`` has any shape; ``stream`` is common to the two evaluators only, and fresh for every
    bundle.
    """
    # SECURITY: as in ``output``: the dealer knows every mask that the bare shares consist of.
    r = bits.draw(step, Purpose.RERANDOMISE, share.size, stream)
    released: Ring = share ^ r.reshape(share.shape)
    return released

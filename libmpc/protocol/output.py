"""Output: additive shares leave for the client, at scale 2^32.

1. What only the dealer knows of y = [y]_0 + [y]_1 + d is shared: γ_0 is drawn from the stream with
   party 0, γ_1 = d − γ_0 is a correction for party 1.
2. The evaluators draw r from their own stream; P_0 sends [y]_0 + γ_0 + r to the client,
   P_1 [y]_1 + γ_1 − r.

Rounds: 0.  Sends: nothing between the parties; dealer to party 1: 6 bytes a value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.cost import Cost
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.purposes import Purpose
from libmpc.ring import transfer
from libmpc.ring.packing import BYTES, MASK, unpack

Ring = NDArray[np.uint64]


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(correction_bytes=BYTES * count)


def deal(step: int, missing: Ring, stream0: Stream, correction: Payload) -> None:
    """Overwrite the correction for party 1, six bytes a value: γ_1 = d − γ_0."""
    gamma = stream0.words(step, Purpose.OUTPUT, missing.size)
    np.subtract(missing.reshape(-1), gamma, out=gamma)
    transfer.pack_words(gamma, np.ndarray(3 * gamma.size, np.uint16, correction))


def prepare(step: int, party: int, count: int, stream: Stream, correction: Payload | None) -> Ring:
    """γ_j, (n,), which an evaluator adds to its share.

    Raises:
        ProtocolError: the correction does not have 6 bytes a value.
    """
    if party == 0:
        return stream.words(step, Purpose.OUTPUT, count)
    if correction is None or len(correction) != BYTES * count:
        raise ProtocolError
    return unpack(correction, count)


def rerandomise(step: int, party: int, share: Ring, stream: Stream) -> Ring:
    """[y]_j ± r, reduced to 48 bits: what evaluator j may send to the client.

    ``share`` has γ_j in it, any shape; ``stream`` is common to the two evaluators only, and fresh
    for every bundle.
    """
    # SECURITY: without r, or with an r that repeats, a client and the dealer together can solve
    # for the weights, since the dealer knows every mask that the bare shares consist of.
    r = stream.words(step, Purpose.RERANDOMISE, share.size).reshape(share.shape)
    released: Ring = (share + r if party == 0 else share - r) & MASK
    return released

"""Input: a client's additive shares become a masked value.

1. The evaluators and the dealer draw λ_j from their streams.
2. P_j holds x_j and sends x_j + λ_j.
3. Both know m = x + λ_0 + λ_1.

Rounds: 1.  Sends: 6 bytes a value.  Source: replicated secret sharing with masks chosen first, as
in ABY3 (Mohassel and Rindal, 2018) and "masked evaluation" (Gordon, Ranellucci and Wang, 2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, round_tag, swap
from libmpc.protocol.purposes import Purpose
from libmpc.ring import transfer
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
_SECONDS_PER_VALUE = 3e-9  # to pack or to unpack


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(rounds=1, online_bytes=BYTES * count)


def draw_mask(step: int, count: int, stream: Stream) -> Ring:
    """λ_j, shape (count,): at evaluator j and at the dealer alike."""
    return stream.words(step, Purpose.MASK, count)


async def send_masked(
    tag: int, masked_share: Ring, exchange: Exchange, compute: Compute | None = None
) -> Ring:
    """Send v_j + λ_j and return m = v + λ, in the shape given; also a ReLU's last round."""
    run = compute or Compute()
    seconds = masked_share.size * _SECONDS_PER_VALUE
    theirs = await swap(exchange, tag, await run.run(seconds, transfer.send, masked_share))
    return await run.run(seconds, transfer.receive_added, masked_share, theirs)


async def evaluate(
    step: int, share: Ring, mask: Ring, exchange: Exchange, compute: Compute | None = None
) -> Ring:
    """m of the client's input; ``share`` and ``mask`` have the same number of values."""
    return await send_masked(round_tag(step, 0), share.reshape(-1) + mask, exchange, compute)

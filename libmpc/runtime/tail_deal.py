"""Party 2's half of the steps behind the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import (
    MaskStep,
    MatchStep,
    OffsetStep,
    PickBitsStep,
    PickStep,
    ShiftStep,
    TailStep,
    TallyStep,
    TopStep,
)
from libmpc.prg import Stream
from libmpc.protocol import lift, lookup, mask, pick, pick_bits, top
from libmpc.protocol.exchange import Payload

Ring = NDArray[np.uint64]
_NOTHING = np.zeros(0, np.uint64)


def deal_tail(
    index: int,
    step: TailStep,
    batch: int,
    sources: Sequence[Ring],
    stream0: Stream,
    stream1: Stream,
    correction: Payload,
) -> Ring:
    """What the dealer knows of the value: of bits, nothing. The correction is overwritten."""
    streams = (stream0, stream1)
    match step:
        case MaskStep():
            return mask.deal(index, sources[0], *streams, correction)
        case TopStep():
            top.deal(index, step.form, sources[0], *streams, correction)
            return _NOTHING
        case PickStep():
            return pick.deal(index, step.form, sources[1], *streams, correction)
        case PickBitsStep():
            pick_bits.deal(index, step.form, step.width, batch, *streams, correction)
            return _NOTHING
        case MatchStep():
            lookup.deal(index, step.width, batch, *streams, correction)
            return np.zeros(batch, np.uint64)
        case TallyStep():
            lookup.deal(index, 2 * step.width, batch, *streams, correction)
            return np.zeros(batch * step.size, np.uint64)
        case OffsetStep():
            return sources[0]
        case ShiftStep():
            return lift.deal(batch * step.size)
        case _:
            return _NOTHING

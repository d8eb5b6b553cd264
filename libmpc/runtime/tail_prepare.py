"""An evaluator's work for the steps behind the logits, before the input is known."""

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
from libmpc.protocol.lookup import PreparedLookup
from libmpc.protocol.mask import PreparedMask
from libmpc.protocol.pick import PreparedPick
from libmpc.protocol.pick_bits import PreparedPickBits
from libmpc.protocol.top import PreparedTop

Ring = NDArray[np.uint64]
PreparedTail = Ring | PreparedMask | PreparedTop | PreparedPick | PreparedPickBits | PreparedLookup
"""One step's randomness; an array is all of [z]_j that does not depend on m at a shift."""


def prepare_tail(
    index: int,
    step: TailStep,
    party: int,
    batch: int,
    masks: Sequence[Ring],
    stream: Stream,
    correction: Payload | None,
) -> tuple[PreparedTail | None, Ring | None]:
    """A step's randomness, and λ_j of its value where that is masked.

    Args:
        masks: λ_j of the masked values that it reads.

    Raises:
        ProtocolError: a correction has the wrong length.
    """
    match step:
        case MaskStep():
            masked = mask.prepare(index, party, batch * step.size, stream, correction)
            return masked, masked.mask
        case TopStep():
            return top.prepare(index, party, step.form, batch, stream, correction), None
        case PickStep():
            picked = pick.prepare(index, party, step.form, masks[0], stream, correction)
            return picked, picked.mask
        case PickBitsStep():
            form, width = step.form, step.width
            words = pick_bits.prepare(index, party, form, width, batch, stream, correction)
            return words, None
        case MatchStep():
            return lookup.prepare(index, party, step.width, batch, stream, correction), None
        case TallyStep():
            return lookup.prepare(index, party, 2 * step.width, batch, stream, correction), None
        case OffsetStep():
            return None, masks[0]
        case ShiftStep():
            return lift.prepare(masks[0], step.bits), None
        case _:
            return None, None

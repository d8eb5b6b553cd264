"""What the steps behind the logits cost, and what their randomness takes in memory."""

from __future__ import annotations

from libmpc.graph.plan import (
    MaskStep,
    MatchStep,
    PickBitsStep,
    PickStep,
    ShiftStep,
    TailStep,
    TallyStep,
    TopStep,
)
from libmpc.protocol import lookup, mask, pick, pick_bits, top
from libmpc.protocol.cost import Cost
from libmpc.protocol.shared_bits import plane_bytes
from libmpc.ring.packing import BYTES

_WORD = 8
CORRECTED = MaskStep | TopStep | PickStep | PickBitsStep | MatchStep | TallyStep
"""Steps with a correction for party 1."""


def tail_cost(step: TailStep, batch: int) -> Cost:
    """The declared cost of a batch."""
    match step:
        case MaskStep():
            return mask.cost(batch * step.size)
        case TopStep():
            return top.cost(step.form, batch)
        case PickStep():
            return pick.cost(step.form, batch)
        case PickBitsStep():
            return pick_bits.cost(step.form, step.width, batch)
        case MatchStep():
            return lookup.cost(step.width, batch)
        case TallyStep():
            return lookup.cost(2 * step.width, batch)
        case _:
            return Cost()


def tail_bytes(step: TailStep, batch: int) -> int | None:
    """Bytes of a step's randomness in an evaluator's memory; ``None`` if it has none."""
    count = batch * step.size
    match step:
        case MaskStep():
            return 2 * _WORD * count
        case ShiftStep():
            return _WORD * count
        case TopStep():
            pairs, candidates = batch * step.form.pairs, batch * step.candidates
            rank = 0 if top.at_once(step.form) else 2 * candidates
            return top.correction_bytes(step.form, batch) + 2 * pairs + plane_bytes(pairs) + rank
        case PickStep():
            opened, candidates = batch * step.keep * step.candidates, batch * step.candidates
            rest = plane_bytes(opened) + _WORD * (candidates + count)
            return pick.cost(step.form, batch).correction_bytes + rest
        case PickBitsStep():
            return _WORD * (batch * step.candidates * (step.keep + step.width) + count)
        case MatchStep():
            return batch * (_WORD * step.width + (BYTES << step.width))
        case TallyStep():
            return batch * (_WORD * 2 * step.width + (BYTES << 2 * step.width))
        case _:
            return None

"""How much memory prepared randomness takes, known before it is prepared."""

from __future__ import annotations

from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    OutputStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    Step,
    TailStep,
    TruncateStep,
)
from libmpc.protocol import positive, rectify, relu, truncate
from libmpc.protocol.shared_bits import plane_bytes
from libmpc.runtime.openings import early_openings
from libmpc.runtime.tail_cost import tail_bytes

_WORD = 8


def prepared_sizes(plan: Plan, batch: int) -> dict[int, int]:
    """Bytes of each step's randomness in an evaluator's memory; steps without any are left out."""
    early = set(early_openings(plan).values())
    sizes = {}
    for index, step in enumerate(plan.steps):
        size = (
            tail_bytes(step, batch)
            if isinstance(step, TailStep)
            else _size(step, batch * step.size)
        )
        if size is not None:
            sizes[index] = size - (_WORD * batch * step.size if index in early else 0)
    return sizes


def _size(step: Step, count: int) -> int | None:
    """Bytes, with the mask of its opening where a step opens something."""
    match step:
        case InputStep() | DenseStep() | ConvStep() | ScaleStep() | LiftStep() | OutputStep():
            return _WORD * count
        case ProductStep():
            return 2 * _WORD * count
        case ReluStep():
            rest = (2 + 2 * _WORD) * count + 2 * plane_bytes(count)
            return relu.cost(count).correction_bytes + rest
        case TruncateStep():
            rest = (1 + 2 * _WORD) * count + plane_bytes(count)
            return truncate.cost(count).correction_bytes + rest
        case RectifyStep():
            rest = (2 + 2 * _WORD) * count + plane_bytes(count)
            return rectify.cost(count).correction_bytes + rest
        case PositiveStep():
            rest = (2 + _WORD) * count + plane_bytes(count)
            return positive.cost(count).correction_bytes + rest
        case _:
            return None

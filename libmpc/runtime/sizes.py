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
    TruncateStep,
)
from libmpc.protocol import positive, rectify, relu, truncate
from libmpc.protocol.shared_bits import Layout, plane_bytes
from libmpc.runtime.openings import early_openings

_WORD = 8


def prepared_sizes(plan: Plan, batch: int) -> dict[int, int]:
    """Bytes of each step's randomness in an evaluator's memory; steps without any are left out."""
    early = set(early_openings(plan).values())
    sizes = {}
    for index, step in enumerate(plan.steps):
        size = _size(step, batch * step.size)
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
            return (_shares(relu.LAYOUT) + 2 + 2 * _WORD) * count + 2 * plane_bytes(count)
        case TruncateStep():
            return (_shares(truncate.LAYOUT) + 1 + 2 * _WORD) * count + plane_bytes(count)
        case RectifyStep():
            return (_shares(rectify.LAYOUT) + 2 + 2 * _WORD) * count + plane_bytes(count)
        case PositiveStep():
            return (_shares(positive.LAYOUT) + 2 + _WORD) * count + plane_bytes(count)
        case _:
            return None


def _shares(layout: Layout) -> int:
    return _WORD * (layout.words + layout.ring)

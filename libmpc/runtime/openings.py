"""Where the mask of an opening may be added beforehand.

A step that opens z sends [z]_j + γ_j. Where z comes from a linear step and goes nowhere else, the
γ_j is part of that step's prepared share, and costs neither memory nor time online. The same is
true of a sum of which such a value is one term.
"""

from __future__ import annotations

from collections import Counter

from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConvStep,
    DenseStep,
    LiftStep,
    Plan,
    ReluStep,
    ScaleStep,
    TruncateStep,
)


def early_openings(plan: Plan) -> dict[int, int]:
    """By linear step, the step that opens its value under a mask that is in its prepared share."""
    readers = Counter(source for step in plan.steps for source in step.reads)
    found: dict[int, int] = {}
    for index, step in enumerate(plan.steps):
        if isinstance(step, (ReluStep, TruncateStep)):
            linear = _linear_term(plan, readers, step.source)
            if linear is not None:
                found[linear] = index
    return found


def _linear_term(plan: Plan, readers: Counter[int], source: int) -> int | None:
    """A linear step whose value is a term of this one, place by place, and of nothing else.

    The latest one: what is prepared last is held for the shortest time.
    """
    latest = -1
    pending = [source]
    while pending:
        index = pending.pop()
        step = plan.steps[index]
        if readers[index] != 1:
            continue
        if isinstance(step, (DenseStep, ConvStep, ScaleStep, LiftStep)):
            latest = max(latest, index)
        elif isinstance(step, BiasStep):
            pending.append(step.source)
        elif isinstance(step, AddStep):
            terms = zip(step.inputs, step.coefficients, strict=True)
            pending += [term for term, coefficient in terms if coefficient == 1]
    return latest if latest >= 0 else None

"""What a plan costs, summed over its steps' declarations."""

from __future__ import annotations

from libmpc.graph.plan import (
    InputStep,
    OutputStep,
    Plan,
    PositiveStep,
    RectifyStep,
    ReluStep,
    Step,
    TailStep,
    TruncateStep,
)
from libmpc.protocol import input as input_step
from libmpc.protocol import output, positive, rectify, relu, truncate
from libmpc.protocol.cost import Cost
from libmpc.runtime.tail_cost import CORRECTED, tail_cost

_CORRECTED = ReluStep | TruncateStep | RectifyStep | PositiveStep | OutputStep | CORRECTED


def step_costs(plan: Plan, batch: int) -> dict[int, Cost]:
    """The declared cost of each step for a batch, by index."""
    return {index: _cost(step, batch) for index, step in enumerate(plan.steps)}


def plan_cost(plan: Plan, batch: int) -> Cost:
    """Rounds, bytes each way online, and correction bytes of one run of a batch."""
    return sum(step_costs(plan, batch).values(), Cost())


def correction_sizes(plan: Plan, batch: int) -> dict[int, int]:
    """Bytes of each step's correction for party 1; steps without one are left out."""
    return {
        index: cost.correction_bytes
        for index, cost in step_costs(plan, batch).items()
        if isinstance(plan.steps[index], _CORRECTED)
    }


def _cost(step: Step, batch: int) -> Cost:
    if isinstance(step, TailStep):
        return tail_cost(step, batch)
    count = batch * step.size
    match step:
        case InputStep():
            return input_step.cost(count)
        case ReluStep():
            return relu.cost(count)
        case TruncateStep():
            return truncate.cost(count)
        case RectifyStep():
            return rectify.cost(count)
        case PositiveStep():
            return positive.cost(count)
        case OutputStep():
            return output.cost(count)
        case _:  # linear steps, products and moves are local
            return Cost()

"""What a plan costs, summed over its steps' declarations."""

from __future__ import annotations

from libmpc.graph.plan import InputStep, OutputStep, Plan, ReluStep
from libmpc.protocol import input as input_step
from libmpc.protocol import linear, output, relu
from libmpc.protocol.cost import Cost


def step_costs(plan: Plan, batch: int) -> dict[int, Cost]:
    """The declared cost of each step for a batch, by index."""
    costs: dict[int, Cost] = {}
    for index, step in enumerate(plan.steps):
        count = batch * step.size
        if isinstance(step, InputStep):
            costs[index] = input_step.cost(count)
        elif isinstance(step, ReluStep):
            costs[index] = relu.cost(count)
        elif isinstance(step, OutputStep):
            costs[index] = output.cost(count)
        else:
            costs[index] = linear.cost(count)
    return costs


def plan_cost(plan: Plan, batch: int) -> Cost:
    """Rounds, bytes each way online, and correction bytes of one run of a batch."""
    return sum(step_costs(plan, batch).values(), Cost())


def correction_sizes(plan: Plan, batch: int) -> dict[int, int]:
    """Bytes of each step's correction for party 1; steps without one are left out."""
    return {
        index: cost.correction_bytes
        for index, cost in step_costs(plan, batch).items()
        if isinstance(plan.steps[index], (ReluStep, OutputStep))
    }

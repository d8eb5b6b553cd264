"""Batch sizes: bundles are dealt for a few of them, and queries' rows are spread over these."""

from __future__ import annotations

from collections.abc import Sequence

from libmpc.graph.plan import Plan
from libmpc.runtime.cost import step_costs

#: batch sizes that runs have
LADDER = (1, 8, 32, 128)

# What the three parties need together on an ordinary core, measured on small networks.
_RUN_SECONDS = 1e-3
_ROUND_SECONDS = 4e-4
_ROW_SECONDS_PER_MAC = 2.5e-9
_ROW_SECONDS_PER_VALUE = 3e-7


def compose(rows: int, ladder: Sequence[int] = LADDER, run_rows: float = 4.0) -> list[int]:
    """The rungs that ``rows`` rows are spread over, the largest first: a few runs, little padding.

    Args:
        run_rows: what a run costs by itself (its rounds), in rows.

    >>> compose(300), compose(20), compose(3), compose(2), compose(3, run_rows=0.5)
    ([128, 128, 32, 8, 8], [32], [8], [1, 1], [1, 1, 1])
    """
    full, left = divmod(rows, ladder[-1])
    return [ladder[-1]] * full + _cheapest(left, ladder, run_rows)


def _cheapest(rows: int, ladder: Sequence[int], run_rows: float) -> list[int]:
    if rows == 0:
        return []
    one = [next(rung for rung in ladder if rung >= rows)]
    below = max((rung for rung in ladder if rung < rows), default=0)
    if not below:
        return one
    several = [below, *_cheapest(rows - below, ladder, run_rows)]
    return min(one, several, key=lambda rungs: sum(rungs) + run_rows * len(rungs))


def run_rows(plan: Plan) -> float:
    """The work of a run that does not grow with its rows, in rows."""
    costs = step_costs(plan, 1)
    rounds = sum(cost.rounds for cost in costs.values())
    row = sum(step.macs for step in plan.linear_steps.values()) * _ROW_SECONDS_PER_MAC
    row += (
        sum(plan.steps[i].size for i, cost in costs.items() if cost.rounds) * _ROW_SECONDS_PER_VALUE
    )
    return (_RUN_SECONDS + rounds * _ROUND_SECONDS) / max(row, 1e-6)

"""Nothing relies on more than 48 bits of a linear step's result."""

from typing import Any

import numpy as np
import pytest

from libmpc.graph.plan import Plan
from libmpc.graph.reference import run_reference
from libmpc.protocol import linear
from libmpc.runtime.simulation import Simulation
from libmpc.runtime.warmup import every_step, wide_matrix
from tests.runtime.plans import random_weights


@pytest.mark.parametrize("plan", [every_step(), wide_matrix()], ids=["every step", "wide"])
def test_anything_may_lie_above_bit_47(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    exact = linear.multiply_add
    calls = []

    def with_rubbish(step: Any, x: Any, weights: Any, out: Any) -> None:
        exact(step, x, weights, out)
        rubbish = rng.integers(0, 2**16, out.shape, np.uint64) << np.uint64(48)
        out += rubbish
        calls.append(rubbish.any())

    monkeypatch.setattr(linear, "multiply_add", with_rubbish)
    weights = random_weights(rng, plan)
    x = rng.integers(-(2**15), 2**15, (3, *plan.input_shape)).astype(np.uint64)
    answer = Simulation(plan, weights).query(x)
    assert np.array_equal(answer, run_reference(plan, weights, x))
    weighted = sum(step.weight_shape is not None for step in plan.linear_steps.values())
    # By the dealer; by each evaluator beforehand, and online.
    assert len(calls) == 5 * weighted
    assert all(calls)

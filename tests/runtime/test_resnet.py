"""Residual networks in one process: exact, and within memory that does not depend on depth."""

import tracemalloc

import numpy as np
import pytest

from libmpc.graph.plan import Plan
from libmpc.graph.reference import run_reference
from libmpc.protocol import Cost
from libmpc.runtime import Simulation, plan_cost, prepared_sizes
from tests.runtime.plans import Weights
from tests.runtime.resnet import resnet50


def he_weights(rng: np.random.Generator, plan: Plan) -> Weights:
    """As a network has them before it is trained; the ends of blocks a little smaller."""
    weights: Weights = {}
    for index, step in plan.linear_steps.items():
        assert step.weight_shape is not None
        taps = step.macs // step.size
        values = rng.normal(0, (1 / taps) ** 0.5, step.weight_shape) * 2**16
        weights[index] = (
            values.round().astype(np.int64).view(np.uint64),
            np.zeros(step.bias_shape, np.uint64),
        )
    return weights


def check(plan: Plan) -> int:
    """Compares one image with the reference; returns the largest memory of the query in bytes."""
    rng = np.random.default_rng(0)
    weights = he_weights(rng, plan)
    x = rng.integers(0, 2**16, (1, *plan.input_shape), np.uint64)
    expected = run_reference(plan, weights, x)
    assert np.unique(expected).size > plan.output_shape[0] // 2
    simulation = Simulation(plan, weights)
    tracemalloc.start()
    try:
        y = simulation.query(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(y, expected)
    traffic = simulation.traffic
    cost = Cost(traffic.rounds, traffic.sent[0], traffic.corrections)
    assert cost == plan_cost(plan, 1)
    return peak


def test_a_small_one() -> None:
    check(resnet50(side=32, blocks=(2, 2), width=8, classes=10))


@pytest.mark.slow
def test_resnet50() -> None:
    plan = resnet50()
    macs = sum(step.macs for step in plan.linear_steps.values())
    assert macs == 4_089_184_256
    assert plan_cost(plan, 1).rounds == 209
    assert sum(prepared_sizes(plan, 1).values()) > 1_000_000_000
    assert check(plan) < 400_000_000

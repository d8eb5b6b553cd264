"""Whole networks on shares equal the naive executor to the bit, at the declared cost."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.plan import Plan, Step, TailStep
from libmpc.graph.reference import run_reference
from libmpc.protocol import Cost
from libmpc.runtime import Simulation, correction_sizes, plan_cost, step_costs
from libmpc.runtime.warmup import every_step
from tests import naive
from tests.runtime.parties import Parties
from tests.runtime.plans import (
    Weights,
    perceptron,
    random_inputs,
    random_plan,
    random_weights,
    residual_plan,
    small_plan,
    tutorial_cnn,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from([0, 4096, 2**20]))
def test_random_networks(seed: int, batch: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    plan = random_plan(rng)
    weights = random_weights(rng, plan)
    x = random_inputs(rng, plan, batch).view(np.uint64)
    simulation = Simulation(plan, weights, window=window)
    y = simulation.query(x)
    assert y.dtype == np.uint64
    assert np.array_equal(y, run_reference(plan, weights, x))
    cost = plan_cost(plan, batch)
    traffic = simulation.traffic
    assert Cost(traffic.rounds, traffic.sent[0], traffic.corrections) == cost
    assert traffic.sent[0] == traffic.sent[1]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_random_networks_with_whole_bundles(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    plan = random_plan(rng)
    weights = random_weights(rng, plan)
    x = random_inputs(rng, plan, batch).view(np.uint64)
    x0 = rng.integers(0, 2**64, x.shape, np.uint64)
    trio = Parties(plan, weights)
    y0, y1 = trio.run(x0, x - x0)
    assert np.array_equal((y0 + y1) % np.uint64(2**48), run_reference(plan, weights, x))
    sizes = {index: len(part) for index, part in trio.corrections(batch).items()}
    assert sizes == correction_sizes(plan, batch)


def test_random_networks_have_every_step() -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        seen.update({step.op for step in random_plan(np.random.default_rng(seed)).steps})
    steps = set(Step.__args__) - set(TailStep.__args__)
    assert seen.keys() == {step.model_fields["op"].default for step in steps}
    assert min(seen.values()) >= 20


@pytest.mark.parametrize("plan", [residual_plan(), every_step()], ids=["residual", "every step"])
def test_values_with_several_readers(plan: Plan) -> None:
    rng = np.random.default_rng(0)
    weights = random_weights(rng, plan, inputs=2**12)
    x = random_inputs(rng, plan, 2, 2**12)
    y = Simulation(plan, weights).query(x.view(np.uint64))
    assert np.array_equal(y, naive.ring(naive.run(plan, weights, x), 48))


def expected_quickly(plan: Plan, weights: Weights, x: np.ndarray) -> np.ndarray:
    """The tutorial networks in numpy's int64, windows by slicing."""
    value = x
    for index, step in enumerate(plan.steps[1:], start=1):
        if step.op == "relu":
            value = np.maximum(value >> 16, 0)
        elif step.op in ("dense", "conv"):
            w, b = (part.view(np.int64) for part in weights[index])
            if step.op == "dense":
                value = value.reshape(len(x), -1) @ w + b
            else:
                views = np.lib.stride_tricks.sliding_window_view(value, (4, 4), axis=(1, 2))
                views = views[:, ::2, ::2].transpose(0, 1, 2, 4, 5, 3)
                value = views.reshape(*views.shape[:3], -1) @ w + b
    return value


@pytest.mark.parametrize(
    ("plan", "cost"),
    [
        (tutorial_cnn(), Cost(rounds=13, online_bytes=41_100, correction_bytes=209_488)),
        (perceptron(), Cost(rounds=5, online_bytes=11_830, correction_bytes=41_060)),
    ],
    ids=["cnn", "perceptron"],
)
def test_networks_of_the_documentation(plan: Plan, cost: Cost) -> None:
    assert plan_cost(plan, 1) == cost
    rng = np.random.default_rng(0)
    weights = random_weights(rng, plan, inputs=2**16)
    simulation = Simulation(plan, weights)
    for batch in (1, 7):
        x = rng.integers(0, 2**16, (batch, *plan.input_shape), np.int64)
        before = simulation.traffic.rounds
        y = simulation.query(x.view(np.uint64))
        assert simulation.traffic.rounds - before == cost.rounds
        expected = expected_quickly(plan, weights, x).view(np.uint64) % np.uint64(2**48)
        assert np.array_equal(y, expected)
    one, seven = plan_cost(plan, 1), plan_cost(plan, 7)
    traffic = simulation.traffic
    assert traffic.sent == (one.online_bytes + seven.online_bytes,) * 2
    assert traffic.corrections == one.correction_bytes + seven.correction_bytes


def test_costs_by_step() -> None:
    plan = small_plan()
    costs = step_costs(plan, 2)
    assert costs[0] == Cost(1, 6 * 80, 0)
    assert costs[1] == costs[2] == costs[4] == Cost()
    assert costs[3] == Cost(4, 14 * 72 + 18, 82 * 72)
    assert costs[5] == Cost(0, 0, 6 * 10)
    assert correction_sizes(plan, 2) == {3: 82 * 72, 5: 60}


def test_empty_batch() -> None:
    plan = small_plan()
    simulation = Simulation(plan, random_weights(np.random.default_rng(0), plan))
    assert simulation.query(np.zeros((0, 5, 4, 2), np.uint64)).shape == (0, 5)


def test_inside_a_running_event_loop() -> None:
    plan = small_plan()
    weights = random_weights(np.random.default_rng(0), plan)
    x = random_inputs(np.random.default_rng(1), plan, 1)

    async def cell() -> np.ndarray:
        return Simulation(plan, weights).query(x.view(np.uint64))

    assert np.array_equal(asyncio.run(cell()), naive.ring(naive.run(plan, weights, x), 48))

"""Lowered networks and windows on shares: what three parties return is what the reference says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from libmpc import data, fixedpoint
from libmpc.graph.encoding import encode_weights
from libmpc.graph.lowering import lower
from libmpc.graph.model import load_model
from libmpc.graph.nodes import Graph
from libmpc.graph.plan import ConvStep, InputStep, OutputStep, Plan, Step, SumPoolStep, Window
from libmpc.graph.reference import run_reference
from libmpc.protocol import Cost
from libmpc.runtime import Simulation, plan_cost
from tests import naive
from tests.graph.lowering.plan_float import error_bounds
from tests.graph.lowering.random_graphs import graphs, inputs
from tests.graph.naive import Sketch
from tests.graph.random_networks import networks


@settings(max_examples=40, deadline=None)
@given(networks())
def test_chains(sketch: Sketch) -> None:
    lowered = lower(sketch.graph)
    weights = encode_weights(lowered)
    x = fixedpoint.encode(sketch.inputs(2))
    expected = run_reference(lowered.plan, weights, x) & np.uint64(2**48 - 1)
    assert np.array_equal(Simulation(lowered.plan, weights).query(x), expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(bits=10))
def test_lowered_networks(graph: Graph) -> None:
    lowered = lower(graph)
    assume(max(bound.size for bound in error_bounds(lowered, 1.0)) < 2.0**13)
    weights = encode_weights(lowered)
    x = fixedpoint.encode(inputs(graph, 2))
    expected = run_reference(lowered.plan, weights, x) & np.uint64(2**48 - 1)
    assert np.array_equal(Simulation(lowered.plan, weights).query(x), expected)


@st.composite
def windows(draw: st.DrawFn, height: int, width: int, channels: int) -> Window:
    def pair(high: int) -> tuple[int, int]:
        return draw(st.integers(1, high)), draw(st.integers(1, high))

    try:
        return Window(
            height=height,
            width=width,
            channels=channels,
            kernel=pair(4),
            strides=pair(3),
            dilation=pair(3),
            padding=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        )
    except ValidationError:
        assume(False)
        raise


@st.composite
def pooled(draw: st.DrawFn) -> Plan:
    """One or two sums over windows, and a convolution, each with any window."""
    sizes = st.integers(1, 8)
    shape = (draw(sizes), draw(sizes), draw(st.integers(1, 3)))
    steps: list[Step] = [InputStep(shape=shape)]
    for _ in range(draw(st.integers(1, 2))):
        pool = SumPoolStep(source=len(steps) - 1, window=draw(windows(*shape)))
        shape = (*pool.window.output_size, shape[2])
        steps.append(pool)
    conv = ConvStep(source=len(steps) - 1, window=draw(windows(*shape)), filters=2)
    return Plan(steps=(*steps, conv, OutputStep(source=len(steps), shape=conv.output_shape)))


@settings(max_examples=60, deadline=None)
@given(pooled(), st.integers(0, 2**32))
def test_windows(plan: Plan, seed: int) -> None:
    """On any ring elements: without a ReLU nothing has to stay in range."""
    rng = np.random.default_rng(seed)
    [(index, step)] = plan.linear_steps.items()
    shapes = (step.weight_shape, step.weight_shape[1:], (2, *plan.input_shape))
    w, b, x = (rng.integers(0, 2**48, shape, np.uint64) for shape in shapes)
    weights = {index: (w, b)}
    expected = run_reference(plan, weights, x) & np.uint64(2**48 - 1)
    assert np.array_equal(Simulation(plan, weights).query(x), expected)
    assert np.array_equal(expected, naive.ring(naive.run(plan, weights, x), 48))


@pytest.mark.parametrize(
    ("name", "cost", "macs", "digest"),
    [
        (
            "short-conv-mnist.h5",
            Cost(13, 41_100, 209_488),
            106_282,
            "933e2efc389cea1d66420749966077c4949758e4f9f3a15613566f677f3a56fd",
        ),
        (
            "perceptron-784-500-10.keras",
            Cost(5, 11_830, 41_060),
            397_000,
            "9f73439b839da9473b89db0957c2f7b08218489a4afc0f252e93066169d5a990",
        ),
    ],
)
def test_the_shipped_networks(name: str, cost: Cost, macs: int, digest: str) -> None:
    """What they cost, their encoded weights to the bit, and their answers."""
    model = load_model(data.model_path(name), (0, 1), require_proof=True)
    assert plan_cost(model.plan, 1) == cost
    assert sum(step.macs for step in model.plan.linear_steps.values()) == macs
    encoded = hashlib.sha256()
    for pair in model.weights.values():
        for array in pair:
            encoded.update(array.astype("<u8").tobytes())
    assert encoded.hexdigest() == digest
    images = data.digits()[0][:9].reshape(9, *model.input_shape)
    answers = Simulation(model.plan, model.weights).query(model.check_inputs(images))
    assert np.array_equal(fixedpoint.decode(answers, 32), model.reference(images))

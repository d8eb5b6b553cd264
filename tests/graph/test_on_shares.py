"""Lowered networks and windows on shares: what three parties return is what the reference says."""

from __future__ import annotations

import numpy as np
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


def test_the_shipped_network() -> None:
    model = load_model(data.model_path("short-conv-mnist.h5"), (0, 1), require_proof=True)
    assert plan_cost(model.plan, 1) == Cost(13, 41_099, 209_488)
    assert sum(step.macs for step in model.plan.linear_steps.values()) == 106_282
    images, _ = data.digits()
    answers = Simulation(model.plan, model.weights).query(model.check_inputs(images[:9]))
    assert np.array_equal(fixedpoint.decode(answers, 32), model.reference(images[:9]))

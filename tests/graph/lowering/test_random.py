"""Random networks: the plan computes what the network says, and fixed point is near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from libmpc import fixedpoint
from libmpc.graph.encoding import encode_weights
from libmpc.graph.floating import run_float
from libmpc.graph.lowering import lower
from libmpc.graph.nodes import Graph
from libmpc.graph.plan import PositiveStep
from libmpc.graph.reference import run_reference
from tests.graph.lowering.plan_float import error_bounds, run_plan
from tests.graph.lowering.random_graphs import graphs, inputs

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW)
@given(graphs())
def test_plans_are_the_networks(graph: Graph) -> None:
    check(graph)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=2500, deadline=None, suppress_health_check=SLOW)
@given(graphs())
def test_many_plans_are_the_networks(graph: Graph) -> None:
    check(graph)


def check(graph: Graph) -> None:
    lowered = lower(graph)
    x = inputs(graph, 2)
    got = np.array([run_plan(lowered, one) for one in x])
    assert np.array_equal(got, run_float(graph, x))


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(graphs(bits=30))
def test_fixed_point_is_near(graph: Graph) -> None:
    lowered = lower(graph)
    bounds = error_bounds(lowered, 1.0)
    if max(bound.size for bound in bounds) >= 2.0**13:
        return  # it might leave the range
    if any(isinstance(step, PositiveStep) for step in lowered.plan.steps):
        return  # a sign may flip
    x = inputs(graph, 3)
    ring = run_reference(lowered.plan, encode_weights(lowered), fixedpoint.encode(x))
    distance = np.abs(fixedpoint.decode(ring, 32) - run_float(graph, x)).max()
    assert distance <= bounds[-1].error + 2.0**-40

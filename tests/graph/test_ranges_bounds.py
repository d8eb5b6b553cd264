"""Bounds hold: intervals and linear relaxation against values on samples, on random plans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    PermuteStep,
    Plan,
    PositiveStep,
    RectifyStep,
    ReluStep,
    SumPoolStep,
    TruncateStep,
    Window,
)
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.floats import rising, run_step
from libmpc.graph.ranges.intervals import Box, bound_pattern, bound_step, input_box
from libmpc.graph.ranges.lines import Curved, lines, product_planes
from libmpc.graph.ranges.patterns import Pattern, patterns
from libmpc.graph.ranges.substitution import OutOfTimeError, Substitution
from tests.runtime import random_plans


def random_weights(plan: Plan, rng: np.random.Generator) -> EncodedWeights:
    """Constants so small that every value is an exact float64."""
    largest = random_plans.bounds(plan)
    weights = {}
    for index, step in plan.linear_steps.items():
        shape = step.weight_shape or (0,)
        most = 2**40 // (largest[step.reads[0]] * shape[0] + 1) if shape[0] else 0
        w = rng.integers(-most, most + 1, shape)
        b = rng.integers(-(2**36), 2**36, step.bias_shape)
        weights[index] = w.view(np.uint64), b.view(np.uint64)
    return weights


def all_values(plan: Plan, constants: Constants, x: np.ndarray) -> list[np.ndarray]:
    """Every step's values on samples: (batch, values)."""
    values = [x.reshape(len(x), -1)]
    for index, step in enumerate(plan.steps[1:], 1):
        sources = [values[source] for source in step.reads]
        values.append(run_step(step, constants.of(index), sources))
    return values


def all_boxes(
    plan: Plan,
    constants: Constants,
    ends: tuple[int, int],
    patterns: Mapping[int, Pattern] = MappingProxyType({}),
) -> list[Box]:
    """Interval bounds of every step."""
    boxes = [input_box(plan.steps[0].size, ends)]
    for index, step in enumerate(plan.steps[1:], 1):
        box = bound_step(step, constants.of(index), [boxes[s] for s in step.reads])
        if index in patterns:
            sources = [boxes[s] for s in patterns[index].sources]
            box = box.within(*bound_pattern(patterns[index], sources))
        boxes.append(box)
    return boxes


def samples(plan: Plan, ends: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    shape = (30, plan.steps[0].size)
    points = rng.integers(*ends, shape, endpoint=True)
    corners = np.where(rng.integers(0, 2, shape), *ends)
    return np.concatenate([points, corners]).astype(np.float64)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(-(2**20), 2**20), st.integers(0, 2**20))
def test_bounds_hold(seed: int, low: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    ends = low, min(low + width, 2**20)
    plan = random_plans.random_plan(rng)
    constants = Constants(random_weights(plan, rng), keep=True)
    values = all_values(plan, constants, samples(plan, ends, rng))
    boxes = all_boxes(plan, constants, ends)
    relaxed = Substitution(plan, constants, patterns(plan, constants), boxes, math.inf)
    for index, (step, box) in enumerate(zip(plan.steps, boxes, strict=True)):
        least, most = values[index].min(axis=0), values[index].max(axis=0)
        assert (box.low <= least).all()
        assert (most <= box.high).all()
        assert (box.reach <= box.most).all()
        low_bound, high_bound = relaxed.bounds(index, np.ones(step.size, np.bool_))
        # The samples are exact integers, the bounds real numbers.
        assert (low_bound <= least).all(), (index, step)
        assert (most <= high_bound).all(), (index, step)


integers = st.integers(-(2**48), 2**48)


@given(
    st.sampled_from([ReluStep, TruncateStep, RectifyStep, PositiveStep]),
    integers,
    st.one_of(st.integers(0, 2**18), st.integers(0, 2**48)),
    st.lists(st.floats(0, 1), max_size=5),
)
def test_lines_lie_below_and_above(
    kind: type[Curved], low: int, width: int, places: list[float]
) -> None:
    high = low + width
    step = kind(source=0, shape=(1,))
    line = lines(step, np.array([float(low)]), np.array([float(high)]))
    near = [low, high, -1, 0, 1, 65535, 65536, 65537]
    points = [z for z in [*near, *(low + int(width * p) for p in places)] if low <= z <= high]
    z = np.array(points, np.float64)
    result = rising(step, z)
    slack = 2.0**-40 * (1 + np.abs(result).max())
    assert (line.low_slope * z + line.low_offset <= result + slack).all()
    assert (line.high_slope * z + line.high_offset >= result - slack).all()


@given(*[st.integers(-(2**24), 2**24)] * 4, st.floats(0, 1), st.floats(0, 1))
def test_planes_lie_below_and_above(a: int, b: int, c: int, d: int, x: float, y: float) -> None:
    one = tuple(np.array([float(v)]) for v in sorted((a, b)))
    two = tuple(np.array([float(v)]) for v in sorted((c, d)))
    planes = product_planes(one, two)  # type: ignore[arg-type]
    below, above = planes.low, planes.high
    u, v = (lo + np.rint((hi - lo) * t) for (lo, hi), t in ((one, x), (two, y)))
    assert below[0] * u + below[1] * v + below[2] <= u * v <= above[0] * u + above[1] * v + above[2]


def linear_chain(rng: np.random.Generator) -> Plan:
    """Linear steps one after the other, with sums that overlap: intervals are too wide."""
    first = Window(height=6, width=5, channels=2, kernel=(2, 2), padding=(1, 0, 0, 1))
    second = Window(height=6, width=5, channels=2, kernel=(2, 3), strides=(2, 1))
    rows, columns = second.output_size
    steps = (
        InputStep(shape=(6, 5, 2)),
        SumPoolStep(source=0, window=first),
        PermuteStep(source=0, shape=(2, 6, 5), order=(1, 2, 0)),
        AddStep(inputs=(1, 2), coefficients=(1, -2), shape=(6, 5, 2)),
        ConvStep(source=3, window=second, filters=4, groups=2),
        BiasStep(source=4, shape=(rows, columns, 4), factor_shape=(1, 1, 4)),
        OutputStep(source=5, shape=(rows, columns, 4)),
    )
    return Plan(steps=steps)


def test_bounds_of_linear_steps_are_attained() -> None:
    rng = np.random.default_rng(4)
    plan = linear_chain(rng)
    constants = Constants(random_weights(plan, rng), keep=True)
    ends = -1000, 1500
    boxes = all_boxes(plan, constants, ends)
    relaxed = Substitution(plan, constants, {}, boxes, math.inf)
    last = len(plan.steps) - 1
    low, high = relaxed.bounds(last, np.ones(plan.steps[last].size, np.bool_))
    # The matrix of the whole chain, column by column, says which end of every input is worst.
    zero = all_values(plan, constants, np.zeros((1, 60)))[last]
    matrix = all_values(plan, constants, np.eye(60))[last] - zero
    worst = np.where(matrix > 0, ends[1], ends[0])
    best = np.where(matrix > 0, ends[0], ends[1])
    assert np.allclose(high, (matrix * worst).sum(axis=0) + zero[0], rtol=1e-9)
    assert np.allclose(low, (matrix * best).sum(axis=0) + zero[0], rtol=1e-9)
    assert (boxes[last].high - boxes[last].low).mean() > 1.1 * (high - low).mean()
    # The nearest value that everything hangs on is the input, so one step back is enough.
    shallow = relaxed.bounds(last, np.ones(plan.steps[last].size, np.bool_), shallow=True)
    assert np.array_equal(shallow, (low, high))


def test_only_what_is_wanted_is_bounded() -> None:
    rng = np.random.default_rng(4)
    plan = linear_chain(rng)
    constants = Constants(random_weights(plan, rng), keep=True)
    boxes = all_boxes(plan, constants, (-1000, 1500))
    relaxed = Substitution(plan, constants, {}, boxes, math.inf)
    size = plan.steps[4].size
    every = np.stack(relaxed.bounds(4, np.ones(size, np.bool_)))
    wanted = rng.random(size) < 0.2
    some = np.stack(relaxed.bounds(4, wanted))
    assert np.allclose(some[:, wanted], every[:, wanted], rtol=1e-12)
    assert np.isinf(some[:, ~wanted]).all()


def test_time_is_kept() -> None:
    rng = np.random.default_rng(4)
    plan = linear_chain(rng)
    constants = Constants(random_weights(plan, rng), keep=True)
    boxes = all_boxes(plan, constants, (-1000, 1500))
    wanted = np.ones(plan.steps[4].size, np.bool_)
    with pytest.raises(OutOfTimeError):
        Substitution(plan, constants, {}, boxes, -math.inf).bounds(4, wanted)
    with pytest.raises(OutOfTimeError):
        Substitution(plan, constants, {}, boxes, math.inf).bounds(4, wanted, seconds=-1.0)


def test_slack_covers_roundings() -> None:
    # 2^52 + 1 - 2^52 in coefficients that float64 cannot add exactly: bounds stay on both sides.
    steps = (
        InputStep(shape=(1,)),
        DenseStep(source=0, inputs=1, outputs=3),
        ReluStep(source=1, shape=(3,)),
        DenseStep(source=2, inputs=3, outputs=1),
        OutputStep(source=3, shape=(1,)),
    )
    plan = Plan(steps=steps)
    first = np.array([[2**40 + 12345, 2**40 + 12346, 77777]], np.int64)
    second = np.array([[2**30 + 1], [-(2**30) - 1], [2**29 + 3]], np.int64)
    zeros = np.zeros(3, np.int64)
    weights = {
        1: (first.view(np.uint64), zeros.view(np.uint64)),
        3: (second.view(np.uint64), zeros[:1].view(np.uint64)),
    }
    constants = Constants(weights, keep=True)
    x = 2**22 - 1
    boxes = all_boxes(plan, constants, (x, x))
    low, high = Substitution(plan, constants, {}, boxes, math.inf).bounds(3, np.array([True]))
    hidden = [(int(w) * x) >> 16 for w in first[0]]
    exact = sum(h * int(w) for h, w in zip(hidden, second[:, 0], strict=True))
    assert int(low[0]) <= exact <= int(high[0])
    assert boxes[3].low[0] <= exact <= boxes[3].high[0]

"""Maxima and clips are bounded as what they are, however the plan makes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph import activations
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.encoding import encode_weights
from libmpc.graph.lowering import Lowered, lower
from libmpc.graph.plan import (
    AddStep,
    SliceStep,
)
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.floats import ONE
from libmpc.graph.ranges.lines import clip_lines, extreme_planes
from libmpc.graph.ranges.patterns import Clip, Curve, Extreme, patterns
from libmpc.graph.ranges.proof import prove
from libmpc.graph.ranges.substitution import Substitution
from tests.graph.test_ranges_bounds import all_boxes, all_values, samples


def found(lowered: Lowered) -> dict[int, Curve | Extreme | Clip]:
    return dict(patterns(lowered.plan, Constants(encode_weights(lowered))))


def one_layer(make: Callable[[GraphBuilder, str], str], size: int = 3) -> Lowered:
    """Something between a dense layer and another."""
    rng = np.random.default_rng(1)
    b = GraphBuilder((4,), "x")
    y = make(b, b.dense("first", "x", rng.normal(size=(4, size)), rng.normal(size=size)))
    return lower(b.graph(b.dense("last", y, np.ones((b.shapes[y][-1], 1)))))


def test_a_clip_is_seen_through_the_stacking() -> None:
    lowered = one_layer(lambda b, x: activations.clip(b, "relu6", x, 0.0, 6.0))
    [clip] = [p for p in found(lowered).values() if isinstance(p, Clip)]
    assert lowered.names[clip.source] == "first"
    assert (clip.upper - clip.lower == 6 * 2.0**32).all()
    # Six times as many inputs do not matter to it, nor does their size.
    span = list(prove(lowered.plan, encode_weights(lowered), (-(2**29), 2**29)).spans.values())[-1]
    assert (span.low, span.high) == (0.0, 18 * 2.0**32)


def test_a_clip_of_scaled_values() -> None:
    lowered = one_layer(lambda b, x: activations.hard_swish(b, "swish", x))
    [clip] = [p for p in found(lowered).values() if isinstance(p, Clip)]
    assert (clip.upper - clip.lower == 2.0**32).all()


def test_no_clip_of_different_values() -> None:
    def make(b: GraphBuilder, x: str) -> str:
        other = b.dense("other", x, np.eye(3) * 2)
        return b.sum_of("sub", [b.relu("r", x), b.relu("s", other)], [1, -1])

    assert not any(isinstance(p, Clip) for p in found(one_layer(make)).values())


def test_maxima_of_a_pool() -> None:
    b = GraphBuilder((6, 6, 2), "x")
    pooled = b.max_pool("pool", "x", (3, 3), (2, 2), padding=(1, 0, 1, 0))
    lowered = lower(b.graph(pooled))
    extremes = [p for p in found(lowered).values() if isinstance(p, Extreme)]
    assert len(extremes) == 4
    assert all(p.largest for p in extremes)
    proof = prove(lowered.plan, {}, (-(2**20), 2**20))
    assert proof.failed is None
    last = list(proof.spans.values())[-1]
    assert (last.low, last.high) == (-(2.0**36), 2.0**36)


@pytest.mark.parametrize("kind", ["maximum", "minimum"])
def test_maximum_and_minimum(kind: str) -> None:
    b = GraphBuilder((5,), "x")
    other = b.slice("reversed", "x", (4,), (5,), (-1,))
    lowered = lower(b.graph(getattr(b, kind)("m", "x", other)))
    [extreme] = [p for p in found(lowered).values() if isinstance(p, Extreme)]
    assert extreme.largest == (kind == "maximum")
    span = list(prove(lowered.plan, {}, (-7, 9)).spans.values())[-1]
    assert (span.low, span.high) == (-7 * 2.0**16, 9 * 2.0**16)


def test_parts_of_a_stack_are_curves_of_their_own() -> None:
    lowered = one_layer(lambda b, x: activations.leaky_relu(b, "leaky", x, 0.1))
    curves = {i: p for i, p in found(lowered).items() if isinstance(p, Curve)}
    assert len(curves) == 2
    for index, curve in curves.items():
        assert isinstance(lowered.plan.steps[index], SliceStep)
        assert lowered.plan.steps[curve.source].size == 3


def random_layers(seed: int) -> Lowered:
    """A few layers with all that makes patterns."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder((4, 4, 2), "x")
    x, others = "x", ["x"]
    for number in range(4):
        layer = f"l{number}"
        shape = b.shapes[x]
        kernel = np.round(rng.normal(0, 0.5, (2, 2, shape[-1], 2)), 3)
        x = b.conv(layer, x, kernel, rng.normal(size=2), padding=(1, 0, 0, 1))
        low, high = np.sort(rng.normal(size=2)).tolist()
        choice = rng.integers(6)
        if choice == 0:
            x = activations.clip(b, layer, x, low, high)
        elif choice == 1:
            x = activations.hard_swish(b, layer, x)
        elif choice == 2:
            x = b.max_pool(layer, x, (2, 2), (1, 1), padding=(1, 0, 0, 1))
        elif choice == 3:
            x = b.maximum(layer, x, b.relu(layer, others[-1]))
        elif choice == 4:
            x = b.minimum(layer, others[-1], x)
        else:
            x = activations.leaky_relu(b, layer, x, 0.25)
        others.append(x)
    return lower(b.graph(x))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(-(2**17), 2**17), st.integers(0, 2**17))
def test_bounds_hold(seed: int, low: int, width: int) -> None:
    lowered = random_layers(seed)
    plan, constants = lowered.plan, Constants(encode_weights(lowered), keep=True)
    ends = low, low + width
    values = all_values(plan, constants, samples(plan, ends, np.random.default_rng(seed)))
    shapes = patterns(plan, constants)
    boxes = all_boxes(plan, constants, ends, shapes)
    relaxed = Substitution(plan, constants, shapes, boxes, math.inf)
    for index, (step, box) in enumerate(zip(plan.steps, boxes, strict=True)):
        least, most = values[index].min(axis=0), values[index].max(axis=0)
        assert (box.low <= least).all(), (index, step)
        assert (most <= box.high).all(), (index, step)
        if isinstance(step, AddStep) or index == len(boxes) - 1:
            low_bound, high_bound = relaxed.bounds(index, np.ones(step.size, np.bool_))
            assert (low_bound <= least).all(), (index, step)
            assert (most <= high_bound).all(), (index, step)


signed = st.integers(-(2**40), 2**40)


@settings(max_examples=300)
@given(signed, st.integers(0, 2**41), signed, st.integers(0, 2**41), st.floats(0, 1))
def test_clip_lines(low: int, width: int, upper: int, top: int, place: float) -> None:
    high, lower = low + width, upper - top
    ends = [np.array([float(v)]) for v in (low, high, upper, lower)]
    line = clip_lines(*ends)
    near = [-upper + d for d in (-1, 0, 1, 65535, 65536)] + [-lower + d for d in (-1, 0, 1, 65536)]
    for z in [low, high, low + int(width * place), *near]:
        if low <= z <= high:
            value = max((z + upper) >> 16, 0) - max((z + lower) >> 16, 0)
            slack = 2.0**-40 * (1 + abs(value))
            assert line.low_slope[0] * z + line.low_offset[0] <= value + slack
            assert line.high_slope[0] * z + line.high_offset[0] >= value - slack
    # Never worse than a constant that is as good as the bounds themselves, in the middle.
    middle = (low + high) / 2
    assert line.high_slope[0] * middle + line.high_offset[0] <= top / ONE + 1.1


@given(*[signed] * 4, st.booleans(), st.floats(0, 1), st.floats(0, 1))
def test_extreme_planes(a: int, b: int, c: int, d: int, largest: bool, x: float, y: float) -> None:
    one = tuple(np.array([float(v)]) for v in sorted((a, b)))
    two = tuple(np.array([float(v)]) for v in sorted((c, d)))
    planes = extreme_planes(one, two, largest=largest)  # type: ignore[arg-type]
    u, v = (lo + np.rint((hi - lo) * t) for (lo, hi), t in ((one, x), (two, y)))
    value = max(u, v) if largest else min(u, v)
    heights = [p * u + q * v + r for p, q, r in (planes.low, planes.high)]
    assert heights[0] <= value <= heights[1]

"""Interval arithmetic, step by step: bounds that hold for every input in the declared range.

Sound for the encoded network, roundings included: encoded weights are integers, the floor of a
truncation rises with its argument, and float64 holds sums of integers exactly up to 2^53; beyond
it bounds are widened by what the roundings of such a sum can make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConvStep,
    DenseStep,
    LiftStep,
    OutputStep,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    Step,
    SumPoolStep,
    SumStep,
    TruncateStep,
    WeightedStep,
)
from libmpc.graph.ranges import floats
from libmpc.graph.ranges.patterns import Curve, Extreme, Pattern

_EXACT = 2.0**53  # sums of integers below it are exact in float64, in whatever order
_Rising = LiftStep | ReluStep | TruncateStep | RectifyStep | PositiveStep | OutputStep


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of every value of a step, and of the sums that it is made by.

    Attributes:
        low: (values,), at the step's scale.
        high: likewise.
        most: for each value a bound of the sum of the sizes of the terms that it is made of, and
            of its own size: what roundings are measured by.
    """

    low: Floats
    high: Floats
    most: Floats

    @property
    def reach(self) -> Floats:
        """A bound of each value's size."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def within(self, low: Floats, high: Floats) -> Box:
        """These bounds and others that hold as well. The values are integers."""
        return Box(
            np.maximum(self.low, np.ceil(low)), np.minimum(self.high, np.floor(high)), self.most
        )


def rounding(terms: float) -> float:
    """How far a float64 sum of so many products may be off, per size of all terms: generous."""
    return (terms + 16.0) * 2.0**-52


def input_box(size: int, input_range: tuple[int, int]) -> Box:
    """The input: ``size`` values between two integers at scale 2^16."""
    low, high = (np.full(size, float(end)) for end in input_range)
    return Box(low, high, np.maximum(np.abs(low), np.abs(high)))


def bound_step(step: Step, constants: tuple[Floats, Floats], sources: Sequence[Box]) -> Box:
    """Bounds of a step's values from those of what it reads."""
    if isinstance(step, (DenseStep, ConvStep, ScaleStep)):
        return _linear(step, *constants, sources[0])
    if isinstance(step, ProductStep):
        return _product(step, *sources)
    if isinstance(step, _Rising):
        low, high = floats.rising(step, sources[0].low), floats.rising(step, sources[0].high)
        return Box(low, high, np.maximum(np.abs(low), np.abs(high)))
    if isinstance(step, BiasStep):
        bias = floats.spread(step, constants[1])
        box = sources[0]
        return _widened(box.low + bias, box.high + bias, box.reach + np.abs(bias), 2)
    if isinstance(step, AddStep):
        return _add(step, sources)
    low, high, most = (
        floats.move(step, [getattr(box, part)[None] for box in sources])[0]  # type: ignore[arg-type]
        for part in ("low", "high", "reach")
    )
    if isinstance(step, (SumPoolStep, SumStep)):
        return _widened(low, high, most, sources[0].low.size)
    return Box(low, high, np.abs(most))


def bound_pattern(pattern: Pattern, sources: Sequence[Box]) -> tuple[Floats, Floats]:
    """Bounds of what several steps make together."""
    if isinstance(pattern, Curve):
        low, high = sources[0].low, sources[0].high
        return floats.rising(pattern.step, low), floats.rising(pattern.step, high)
    if isinstance(pattern, Extreme):
        pick = np.maximum if pattern.largest else np.minimum
        return pick(sources[0].low, sources[1].low), pick(sources[0].high, sources[1].high)
    top = pattern.upper - pattern.lower
    low, high = (
        np.floor(np.clip(z + pattern.upper, 0.0, top) / floats.ONE)
        for z in (sources[0].low, sources[0].high)
    )
    # Where the two floors may fall apart, the difference may be off by one.
    loss = np.where(np.mod(top, floats.ONE) == 0.0, 0.0, 1.0)
    return np.maximum(low - loss, 0.0), high + loss


def _linear(step: WeightedStep, weights: Floats, bias: Floats, x: Box) -> Box:
    # Twice the centre and twice the radius: integers where the centre itself is none.
    size, shift = np.abs(weights), floats.spread(step, bias)
    middle = floats.multiply(step, weights, (x.low + x.high)[None])[0]
    radius = floats.multiply(step, size, (x.high - x.low)[None])[0]
    low, high = (middle - radius) / 2.0 + shift, (middle + radius) / 2.0 + shift
    # Also twice what can occur on the way: it decides whether the arithmetic was exact.
    sums = floats.multiply(step, size, 2.0 * x.reach[None])[0] + 2.0 * np.abs(shift)
    return _widened(low, high, 2.0 * sums, step.weight_shape[0])


def _product(step: ProductStep, a: Box, b: Box) -> Box:
    corners = np.stack([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
    low, high = corners.min(axis=0), corners.max(axis=0)
    if step.inputs[0] == step.inputs[1]:
        low = np.where((a.low < 0) & (a.high > 0), 0.0, np.minimum(corners[0], corners[3]))
    return _widened(low, high, a.reach * b.reach, 1)


def _add(step: AddStep, sources: Sequence[Box]) -> Box:
    low, high, most = (np.zeros(step.size) for _ in range(3))
    for box, coefficient in zip(sources, step.coefficients, strict=True):
        ends = (box.low, box.high) if coefficient >= 0 else (box.high, box.low)
        low += coefficient * ends[0]
        high += coefficient * ends[1]
        most += abs(coefficient) * box.reach
    return _widened(low, high, most, len(sources))


def _widened(low: Floats, high: Floats, most: Floats, terms: int) -> Box:
    """Exact bounds as they are; others a little wider. All are integers."""
    slack = np.where(most < _EXACT, 0.0, rounding(terms) * most)
    return Box(np.floor(low - slack), np.ceil(high + slack), most)

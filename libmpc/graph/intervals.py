"""Interval arithmetic over a plan: bounds that hold for every input in the declared range."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from libmpc import fixedpoint
from libmpc.graph import floats
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.linear import MAX_FOLDED
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ReluStep,
    SumPoolStep,
    Window,
)
from libmpc.graph.sums import unpool, widen, widened

_EXACT = 2.0**53  # sums of integers below it are exact in float64, in whatever order


@dataclass(frozen=True)
class Span:
    """The least and the largest value of one linear step, as integers at scale 2^32."""

    low: float
    high: float

    @property
    def reach(self) -> float:
        """The larger of both, by size, as a real number."""
        return max(abs(self.low), abs(self.high)) / 2.0**32

    def __str__(self) -> str:
        return f"{self.low / 2.0**32:.6g} to {self.high / 2.0**32:.6g}"


def limits(plan: Plan, index: int) -> Span:
    """Where linear step ``index`` must stay, for its reader to be exact. Sharp on both sides."""
    reader = next(s for s in plan.steps if not isinstance(s, InputStep) and s.source == index)
    if isinstance(reader, ReluStep):
        return Span(-(2.0**47) + 2.0**16, 2.0**47)
    return Span(-(2.0**47), 2.0**47 - 1)


def inside(span: Span, limit: Span) -> bool:
    """Whether every value of ``span`` lies within ``limit``."""
    return limit.low <= span.low and span.high <= limit.high


def interval_bounds(
    plan: Plan, weights: EncodedWeights, input_range: tuple[int, int]
) -> dict[int, Span]:
    """Bounds of every linear step, for all inputs between two integers at scale 2^16.

    Sound for the encoded network, roundings included: encoded weights are integers, the floor
    truncation and ReLU are monotone, and float64 holds the sums exactly up to 2^53; what is
    larger is only known to be too large. Sums over windows that overlap depend on each other, so
    the step that reads them is taken together with them, where that is not too large. Bounds end
    with the first step that leaves its limits: behind it the values wrap, and nothing is known.
    """
    first = plan.steps[0]
    # Twice the centre and twice the radius: integers where the centre itself is none.
    centre = np.full((1, first.size), float(input_range[0] + input_range[1]))
    radius = np.full((1, first.size), float(input_range[1] - input_range[0]))
    bounds: dict[int, Span] = {}
    pooled: list[tuple[Window, Floats, Floats]] = []  # windows, and what they were applied to
    for index, step in enumerate(plan.steps):
        if isinstance(step, SumPoolStep):
            pooled.append((step.window, centre, radius))
            centre, radius = floats.pool(step.window, centre), floats.pool(step.window, radius)
        elif isinstance(step, (DenseStep, ConvStep)):
            w, b = (fixedpoint.to_signed(a).astype(np.float64) for a in weights[index])
            reader, size = step, np.abs(w)
            while pooled and _joins(pooled[-1][0], reader):
                window, centre, radius = pooled.pop()
                w, size = _matrix(window, reader, w), _matrix(window, reader, size)
                reader = _step(window, reader)
            pooled.clear()
            low, high = _linear(reader, w, size, b, centre, radius)
            bounds[index] = Span(float(low.min()), float(high.max()))
            if not inside(bounds[index], limits(plan, index)):
                return bounds
            centre, radius = low + high, high - low
        elif isinstance(step, ReluStep):
            low, high = ((centre - radius) / 2.0, (centre + radius) / 2.0)
            low, high = (np.maximum(np.floor(v / 65536.0), 0.0) for v in (low, high))
            centre, radius = low + high, high - low
        else:
            assert isinstance(step, (InputStep, OutputStep))
    return bounds


def _joins(window: Window, reader: DenseStep | ConvStep) -> bool:
    """Whether a step is to be taken together with sums: they overlap, and it is not too large."""
    spans = ((k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True))
    if all(stride >= span for stride, span in zip(window.strides, spans, strict=True)):
        return False
    padded = isinstance(reader, ConvStep) and any(reader.window.padding)
    if padded or (isinstance(reader, DenseStep) and reader.rows > 1):
        return False
    return math.prod(_step(window, reader).weight_shape) <= MAX_FOLDED


def _step(window: Window, reader: DenseStep | ConvStep) -> DenseStep | ConvStep:
    if isinstance(reader, ConvStep):
        return reader.model_copy(update={"window": widened(window, reader.window)})
    values = window.height * window.width * window.channels
    return reader.model_copy(update={"inputs": values})


def _matrix(window: Window, reader: DenseStep | ConvStep, matrix: Floats) -> Floats:
    if isinstance(reader, ConvStep):
        return widen(window, reader, matrix)
    return unpool(window, matrix)


def _linear(
    step: DenseStep | ConvStep, w: Floats, size: Floats, b: Floats, centre: Floats, radius: Floats
) -> tuple[Floats, Floats]:
    """Least and largest outputs; ``size`` is w without signs, or what bounds the sums in it."""
    middle = floats.multiply(step, w, centre)
    spread = floats.multiply(step, np.abs(w), radius)
    # Twice the largest sum that can occur on the way: decides whether the arithmetic was exact.
    most = floats.multiply(step, size, np.abs(centre) + radius) + 2.0 * np.abs(b)
    low, high = (middle - spread) / 2.0 + b, (middle + spread) / 2.0 + b
    exact = most < _EXACT
    return np.where(exact, low, -most), np.where(exact, high, most)

"""What values a model has on samples, where no proof was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import InputStep, PadStep, Plan, ProductStep
from libmpc.graph.ranges import floats
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.span import Span, limits, margin

_CHUNK = 1 << 22  # values of one step in memory at a time, as samples allow
_WORK = 1 << 35  # multiplications on random samples, at most: some seconds
_FEWEST, _MOST = 2, 128


@dataclass(frozen=True)
class Seen:
    """The values of one step on all samples.

    Attributes:
        span: the least and the largest.
        margin: by what factor they could grow and still stay within their limits.
    """

    span: Span
    margin: float


def random_inputs(plan: Plan, input_range: tuple[int, int]) -> NDArray[np.uint64]:
    """Samples of the declared range: both ends, random corners, and random points (encoded).

    They are always the same for a plan and a range. A large model gets fewer.
    """
    low, high = input_range
    macs = sum(step.macs for step in plan.linear_steps.values())
    count = min(_MOST, _WORK // (2 * max(macs, 1)) - 1, 8 * _CHUNK // plan.steps[0].size)
    rng = np.random.default_rng(0)
    shape = (max(_FEWEST, count), *plan.input_shape)
    ends = np.stack([np.full(plan.input_shape, low), np.full(plan.input_shape, high)])
    corners = np.where(rng.integers(0, 2, shape), high, low)
    points = rng.integers(low, high, shape, endpoint=True)
    return np.concatenate([ends, corners, points]).astype(np.int64).view(np.uint64)


def observe(
    plan: Plan,
    weights: EncodedWeights,
    samples: NDArray[np.uint64],
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, Seen]:
    """The values of every step that has limits, on samples, as if nothing ever wrapped.

    Args:
        samples: encoded, (batch, *input_shape).
        progress: called with the number of samples that are done, and of all.
    """
    bounds = limits(plan)
    rest = at_rest(plan)
    constants = Constants(weights)
    chunk = max(1, _CHUNK // max(step.size for step in plan.steps))
    seen: dict[int, Seen] = {}
    for start in range(0, len(samples), chunk):
        part = fixedpoint.to_signed(samples[start : start + chunk]).astype(np.float64)
        values: dict[int, Floats] = {}
        for index, step in enumerate(plan.steps):
            if isinstance(step, InputStep):
                values[index] = part.reshape(len(part), step.size)
            else:
                sources = [values[source] for source in step.reads]
                values[index] = floats.run_step(step, constants.of(index), sources)
            if index in bounds:
                found = _seen(values[index], bounds[index], rest.get(index, 0.0))
                seen[index] = _both(seen[index], found) if index in seen else found
            for source in plan.last_reads[index]:
                del values[source]
        if progress is not None:
            progress(min(start + chunk, len(samples)), len(samples))
    return seen


def at_rest(plan: Plan) -> dict[int, Floats]:
    """What of every step's values is there without any input or weight: public padding.

    Max pooling pads with a large negative number, which takes its place in every comparison but
    does not grow with the values; so margins leave it out. By step, (values,); none for zeros.
    """
    found: dict[int, Floats] = {}
    if not any(isinstance(step, PadStep) and step.value for step in plan.steps):
        return found
    for index, step in enumerate(plan.steps):
        padded = isinstance(step, PadStep) and step.value
        if isinstance(step, (InputStep, ProductStep)) or index in plan.linear_steps:
            continue
        if padded or any(source in found for source in step.reads):
            sizes = zip(step.reads, step.read_sizes, strict=True)
            sources = [found.get(source, np.zeros(size))[None] for source, size in sizes]
            value = floats.run_step(step, (np.zeros(0), np.zeros(0)), sources)[0]
            if value.any():
                found[index] = value
    return found


def _seen(values: Floats, limit: Span, rest: Floats | float) -> Seen:
    low, high = values.min(axis=0), values.max(axis=0)
    span = Span(float(low.min()), float(high.max()), limit.bits)
    return Seen(span, margin(low, high, limit, rest))


def _both(one: Seen, other: Seen) -> Seen:
    low, high = min(one.span.low, other.span.low), max(one.span.high, other.span.high)
    return Seen(Span(low, high, one.span.bits), min(one.margin, other.margin))

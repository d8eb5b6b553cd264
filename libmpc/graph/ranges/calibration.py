"""What values a model has on samples, where no proof was found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import InputStep, Plan
from libmpc.graph.ranges import floats
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.span import Span, limits

_CHUNK = 1 << 22  # values of one step in memory at a time, as samples allow
_WORK = 1 << 35  # multiplications on random samples, at most: some seconds
_FEWEST, _MOST = 2, 128


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
) -> dict[int, Span]:
    """The span of every step that has limits, on samples, as if nothing ever wrapped.

    Args:
        samples: encoded, (batch, *input_shape).
        progress: called with the number of samples that are done, and of all.
    """
    bounds = limits(plan)
    constants = Constants(weights)
    chunk = max(1, _CHUNK // max(step.size for step in plan.steps))
    seen: dict[int, Span] = {}
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
                low, high = float(values[index].min()), float(values[index].max())
                span = seen.get(index, Span(low, high, bounds[index].bits))
                seen[index] = Span(min(span.low, low), max(span.high, high), span.bits)
            for source in plan.last_reads[index]:
                del values[source]
        if progress is not None:
            progress(min(start + chunk, len(samples)), len(samples))
    return seen

"""Linear relaxation with back-substitution over a plan (CROWN).

A bound of a value is looked for as a linear function of the input. It begins as the value itself
and is put in terms of what its step reads, step by step, back to the input: linear steps exactly,
the others by lines that lie below or above them. What cancels between a layer and the layers
before it cancels here too, which interval arithmetic cannot see.

Sound in float64: coefficients are rounded, and at every step the largest error that this can make
is added to a slack (``intervals.rounding`` times coefficients times ``Box.most``), which widens the
bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.nodes import Floats
from libmpc.graph.plan import InputStep, Plan, ProductStep
from libmpc.graph.ranges.adjoint import Linear, constant, fan_out, pull_back
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.intervals import Box, rounding
from libmpc.graph.ranges.lines import Curved, clip_lines, extreme_planes, lines, product_planes
from libmpc.graph.ranges.patch import Patch
from libmpc.graph.ranges.patterns import Clip, Curve, Extreme, Pattern

_MEMORY = 1 << 25  # coefficients in memory at a time: 256 MB
_FUNCTIONS = 512  # bounded at a time, at most
_READERS = 4096.0  # of one value, at most: rounded sums of their coefficients


class OutOfTimeError(Exception):
    """The proof takes longer than it may."""


class Substitution:
    """Bounds by back-substitution, from the bounds of all steps before.

    Args:
        plan: the steps.
        constants: their weights.
        patterns: what several steps make together.
        boxes: bounds of every step so far; the caller adds to it and improves it.
        deadline: of ``time.monotonic``.
    """

    def __init__(
        self,
        plan: Plan,
        constants: Constants,
        patterns: Mapping[int, Pattern],
        boxes: Sequence[Box],
        deadline: float,
    ) -> None:
        self._plan = plan
        self._constants = constants
        self._boxes = boxes
        self._deadline = deadline
        self._patterns = patterns
        self._rules: dict[int, _Rule | None] = {}

    def forget(self) -> None:
        """Bounds have become better: draw all lines anew."""
        self._rules.clear()

    def bounds(
        self,
        index: int,
        wanted: NDArray[np.bool_],
        goal: tuple[float, float] | None = None,
        *,
        shallow: bool = False,
        seconds: float = math.inf,
    ) -> tuple[Floats, Floats]:
        """Bounds of some values of step ``index``; -inf and inf for the others.

        Args:
            wanted: (values,): which.
            goal: do not look for more where a value is shown to lie between these, and stop as
                soon as one cannot be.
            shallow: go back to the nearest value that everything hangs on, no further.
            seconds: the longest that it may take, deadline apart.

        Raises:
            OutOfTimeError: it took, or will take, too long.
        """
        size = self._plan.steps[index].size
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        chunks = list(self._chunks(index, wanted))
        begin = time.monotonic()
        end = min(self._deadline, begin + seconds)
        for done, chunk in enumerate(chunks):
            now = time.monotonic()
            if now > end or (done > 1 and begin + (now - begin) / done * len(chunks) > end):
                raise OutOfTimeError
            low[chunk], high[chunk] = self._chunk(index, chunk, goal, shallow)
            if goal and not (low[chunk].min() >= goal[0] and high[chunk].max() <= goal[1]):
                break
        return low, high

    def _chunks(self, index: int, wanted: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
        """Wanted values in groups of neighbours, the group with the widest bounds first."""
        step, box = self._plan.steps[index], self._boxes[index]
        largest = max(s.size for s in self._plan.steps[: index + 1])
        count = max(1, min(_FUNCTIONS, _MEMORY // (4 * largest)) // 2)
        shape = step.output_shape
        places = np.arange(step.size).reshape(shape)
        if len(shape) >= 3:
            # Squares of the image, all channels: their boxes overlap.
            side = max(1, math.isqrt(count // shape[-1]))
            rows, columns = shape[-3:-1]
            squares = [
                places[..., y : y + side, x : x + side, :].reshape(-1)
                for y in range(0, rows, side)
                for x in range(0, columns, side)
            ]
        else:
            squares = [places.reshape(-1)]
        groups = [square[wanted[square]] for square in squares]
        parts = [g[i : i + count] for g in groups for i in range(0, len(g), count)]
        yield from sorted(parts, key=lambda part: -float(box.reach[part].max()))

    def _chunk(
        self,
        index: int,
        chunk: NDArray[np.int64],
        goal: tuple[float, float] | None,
        shallow: bool,
    ) -> tuple[Floats, Floats]:
        """Least and largest: the least of the value, and minus the least of minus the value."""
        count = len(chunk)
        whole = self._plan.steps[index].output_shape
        at = np.unravel_index(np.concatenate([chunk, chunk]), whole)
        start = tuple(int(axis.min()) for axis in at)
        sizes = tuple(int(axis.max()) + 1 - low for axis, low in zip(at, start, strict=True))
        seed = np.zeros((2 * count, *sizes))
        inner = tuple(axis - low for axis, low in zip(at, start, strict=True))
        seed[(np.arange(2 * count), *inner)] = np.repeat([1.0, -1.0], count)
        enough = None if goal is None else np.repeat([goal[0], -goal[1]], count)
        least = self._least(index, Patch(whole, start, seed), enough, shallow)
        return least[:count], -least[count:]

    def _least(self, index: int, seed: Patch, enough: Floats | None, shallow: bool) -> Floats:
        """The least values of linear functions of step ``index``."""
        live = {index: seed}
        known = np.zeros(len(seed.values))  # what does not depend on a value any more
        slack = np.zeros_like(known)
        best = np.full_like(known, -np.inf)
        while live:
            step = max(live)
            patch = live.pop(step)
            box = self._boxes[step]
            terms = patch.cells + fan_out(self._plan.steps[step]) + _READERS
            slack += rounding(terms) * (patch.size(box.most + 1.0) + np.abs(known))
            if not live:
                # Everything hangs on this one value, of which bounds are known.
                best = np.maximum(best, known + patch.least(box.low, box.high) - slack)
                ends = shallow and step < index and not self._is_linear(step)
                if ends or (enough is not None and (best >= enough).all()):
                    break
            for source, part in self._pull(step, patch, known):
                live[source] = live[source].plus(part) if source in live else part
        return best

    def _pull(self, index: int, patch: Patch, known: Floats) -> Iterable[tuple[int, Patch]]:
        """One step back; adds to ``known`` in place what turns out to be constant."""
        step = self._plan.steps[index]
        if isinstance(step, InputStep):
            return []
        rule = self._rule(index)
        if rule is None:
            assert isinstance(step, Linear)
            constants = self._constants.of(index)
            added = constant(step, constants)
            if added is not None:
                known += patch.times(added)
            return pull_back(step, constants, patch)
        positive = np.maximum(patch.values, 0.0)
        negative = patch.values - positive
        known += patch.with_values(positive).times(rule.low_offset)
        known += patch.with_values(negative).times(rule.high_offset)
        return [
            (source, patch.with_values(positive * patch.cut(low) + negative * patch.cut(high)))
            for source, low, high in rule.slopes
        ]

    def _is_linear(self, index: int) -> bool:
        return isinstance(self._plan.steps[index], Linear) and index not in self._patterns

    def _rule(self, index: int) -> _Rule | None:
        """The planes of a step that is not linear."""
        if index not in self._rules:
            self._rules[index] = self._draw(index)
        return self._rules[index]

    def _draw(self, index: int) -> _Rule | None:
        step, pattern = self._plan.steps[index], self._patterns.get(index)
        if pattern is None and isinstance(step, Curved):
            pattern = Curve(step, step.source)
        sources = step.reads if pattern is None else pattern.sources
        ends = [(self._boxes[i].low, self._boxes[i].high) for i in sources]
        if isinstance(pattern, (Curve, Clip)):
            if isinstance(pattern, Curve):
                line = lines(pattern.step, *ends[0])
            else:
                line = clip_lines(*ends[0], pattern.upper, pattern.lower)
            slopes = [(sources[0], line.low_slope, line.high_slope)]
            return _Rule(slopes, line.low_offset, line.high_offset)
        if isinstance(pattern, Extreme):
            planes = extreme_planes(*ends, largest=pattern.largest)
        elif isinstance(step, ProductStep):
            planes = product_planes(*ends)
        else:
            return None
        low, high = planes.low, planes.high
        slopes = [(sources[0], low[0], high[0]), (sources[1], low[1], high[1])]
        return _Rule(slopes, low[2], high[2])


@dataclass(frozen=True, eq=False)
class _Rule:
    """What lies below a step's value and above: slopes for every source, and offsets."""

    slopes: list[tuple[int, Floats, Floats]]
    low_offset: Floats
    high_offset: Floats

"""What several steps of a plan make together, where bounds of each alone would be too loose.

A maximum is b + max(a - b, 0), and a clip the difference of two ReLUs: intervals forget that both
parts come from the same value. Steps that were stacked into one (a concat before it, slices behind
it) are seen apart again. Found by following every value through the moves in between, so it does
not matter how a plan was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from libmpc.graph import moves
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConcatStep,
    PermuteStep,
    Plan,
    RectifyStep,
    ReluStep,
    SliceStep,
)
from libmpc.graph.ranges import floats
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.lines import Curved

_Ids = NDArray[np.uint64]
_DEPTH = 100  # moves in a row that are looked through


@dataclass(frozen=True)
class Curve:
    """A step's value is ``step`` applied to the whole value of ``source``."""

    step: Curved
    source: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Extreme:
    """The larger of two steps' values, or the smaller."""

    sources: tuple[int, int]
    largest: bool


@dataclass(frozen=True, eq=False)
class Clip:
    """relu(z + upper) - relu(z + lower) with upper >= lower, z the value of ``source``."""

    source: int
    upper: Floats
    lower: Floats

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


Pattern: TypeAlias = Curve | Extreme | Clip


def patterns(plan: Plan, constants: Constants) -> Mapping[int, Pattern]:
    """The patterns of a plan, by the step whose value they make."""
    return _Finder(plan, constants).found


class _Finder:
    def __init__(self, plan: Plan, constants: Constants) -> None:
        self._plan = plan
        self._constants = constants
        sizes = [step.size for step in plan.steps]
        self._offsets = np.cumsum([0, *sizes]).tolist()
        self._traced: dict[int, _Ids] = {}
        self.found: dict[int, Pattern] = {}
        for index, step in enumerate(plan.steps):
            pattern: Pattern | None = None
            if isinstance(step, SliceStep):
                pattern = self._unstacked(index)
            elif isinstance(step, AddStep) and len(step.inputs) == 2:
                pattern = self._sum(step)
            if pattern is not None:
                self.found[index] = pattern
            for source in plan.last_reads[index]:
                self._traced.pop(source, None)

    def _trace(self, index: int, depth: int = 0) -> _Ids:
        """Which value of which step every value is, numbered through all steps."""
        if index in self._traced:
            return self._traced[index]
        step = self._plan.steps[index]
        if isinstance(step, (SliceStep, ConcatStep, PermuteStep)) and depth < _DEPTH:
            sources = [self._trace(source, depth + 1)[None] for source in step.reads]
            ids = moves.apply(step, sources, fill=False).reshape(-1)
        else:
            ids = np.arange(self._offsets[index], self._offsets[index + 1], dtype=np.uint64)
        self._traced[index] = ids
        return ids

    def _whole(self, ids: _Ids) -> int | None:
        """The step whose whole value this is."""
        index = int(np.searchsorted(self._offsets, int(ids[0]), side="right")) - 1
        start, end = self._offsets[index], self._offsets[index + 1]
        same = len(ids) == end - start and np.array_equal(ids, np.arange(start, end))
        return index if same else None

    def _alias(self, index: int) -> int:
        """The earliest step with the same value."""
        whole = self._whole(self._trace(index))
        return index if whole is None else whole

    def _unstacked(self, index: int) -> Curve | None:
        """A part of a curved step whose source was put together from whole values."""
        ids = self._trace(index)
        curved = int(np.searchsorted(self._offsets, int(ids.min()), side="right")) - 1
        step = self._plan.steps[curved]
        if not isinstance(step, Curved) or int(ids.max()) >= self._offsets[curved + 1]:
            return None
        places = (ids - np.uint64(self._offsets[curved])).astype(np.int64)
        source = self._whole(self._trace(step.source)[places])
        return None if source is None else Curve(step, source)

    def _curve(self, index: int) -> Curve | None:
        """A step as a curve of another, if it is one."""
        found = self.found.get(self._alias(index), self.found.get(index))
        step = self._plan.steps[index]
        if isinstance(found, Curve):
            return found
        return Curve(step, self._alias(step.source)) if isinstance(step, Curved) else None

    def _sum(self, step: AddStep) -> Pattern | None:
        first, second = step.inputs
        if step.coefficients == (1, 1):
            return self._extreme(first, second, True) or self._extreme(second, first, True)
        if step.coefficients == (1, -1):
            return self._extreme(first, second, False) or self._clip(first, second)
        if step.coefficients == (-1, 1):
            return self._extreme(second, first, False) or self._clip(second, first)
        return None

    def _extreme(self, other: int, rectified: int, largest: bool) -> Extreme | None:
        """b + rectify(a - b), or a - rectify(a - b)."""
        curve = self._curve(rectified)
        if curve is None or not isinstance(curve.step, RectifyStep):
            return None
        difference = self._plan.steps[curve.source]
        if not isinstance(difference, AddStep) or set(difference.coefficients) != {1, -1}:
            return None
        if len(difference.inputs) != 2:
            return None
        order = difference.inputs[:: difference.coefficients[0]]
        a, b = (self._alias(i) for i in order)
        return Extreme((a, b), largest) if self._alias(other) == (b if largest else a) else None

    def _clip(self, first: int, second: int) -> Clip | None:
        """relu(z + upper) - relu(z + lower)."""
        curves = self._curve(first), self._curve(second)
        bases = []
        for curve in curves:
            if curve is None or not isinstance(curve.step, ReluStep):
                return None
            bases.append(self._base(curve.source))
        (one, upper), (two, lower) = bases
        return Clip(one, upper, lower) if one == two and (upper >= lower).all() else None

    def _base(self, index: int) -> tuple[int, Floats]:
        """A value as another one plus constants."""
        total = np.zeros(self._plan.steps[index].size)
        while isinstance(step := self._plan.steps[index], BiasStep):
            total = total + floats.spread(step, self._constants.of(index)[1])
            index = self._alias(step.source)
        return index, total

"""Prove that values stay where the arithmetic is exact: intervals, then linear relaxation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import InputStep, Plan, ProductStep, RectifyStep, ReluStep
from libmpc.graph.ranges.adjoint import Linear
from libmpc.graph.ranges.constants import Constants
from libmpc.graph.ranges.intervals import Box, bound_pattern, bound_step, input_box
from libmpc.graph.ranges.lines import Curved
from libmpc.graph.ranges.patterns import Curve, Pattern, patterns
from libmpc.graph.ranges.span import Span, limits, margin
from libmpc.graph.ranges.substitution import OutOfTimeError, Substitution

_KEPT = 1 << 25  # values of all steps together, at most, for linear relaxation to be tried

_CHEAP = 1 << 30  # multiplications for relaxing a step that may do without


@dataclass(frozen=True)
class Proof:
    """What could be shown.

    Attributes:
        spans: bounds, by step, of the values that have limits; up to the first that failed.
        failed: the first step that could not be shown to stay within its limits, or ``None``.
        why: what stopped the proof there: ``bounds`` too loose, or out of ``time`` or ``memory``.
        margin: by what factor all values could grow before one reaches its limit, at least.
    """

    spans: dict[int, Span]
    margin: float
    failed: int | None = None
    why: str = ""


def prove(
    plan: Plan,
    weights: EncodedWeights,
    input_range: tuple[int, int],
    *,
    time_limit: float = np.inf,
    progress: Callable[[int, int], None] | None = None,
) -> Proof:
    """Bound every value that has limits, for all inputs between two integers at scale 2^16.

    Intervals first. Where they leave a step's limits, linear relaxation of that step alone; then,
    if that is not enough, of every step before it that a non-linear one reads, in order, since
    lines lie the closer the better the bounds are that they are drawn between. The proof ends at
    the first step that fails: behind it values wrap, and nothing is known.

    Args:
        time_limit: seconds for linear relaxation.
        progress: called with the number of steps that are done, and of all.
    """
    return _Prover(plan, weights, input_range, time_limit, progress or _silent).run()


def _silent(done: int, total: int) -> None:
    """No one wants to know."""


class _Prover:
    def __init__(
        self,
        plan: Plan,
        weights: EncodedWeights,
        input_range: tuple[int, int],
        time_limit: float,
        progress: Callable[[int, int], None],
    ) -> None:
        self._plan = plan
        self._limits = limits(plan)
        self._progress = progress
        self._relaxes = sum(step.size for step in plan.steps) <= _KEPT
        self._constants = Constants(weights, keep=self._relaxes)
        self._input = input_box(plan.steps[0].size, input_range)
        self._boxes: list[Box] = []
        self._tight: dict[int, tuple[Floats, Floats]] = {}
        self._relaxed_fully: set[int] = set()
        self._closer = time_limit / 60
        self._patterns = patterns(plan, self._constants)
        self._relaxed = Substitution(
            plan, self._constants, self._patterns, self._boxes, time.monotonic() + time_limit
        )
        self._unread = _last_uses(plan, self._patterns)

    def run(self) -> Proof:
        spans: dict[int, Span] = {}
        least = np.inf
        for index in range(len(self._plan.steps)):
            self._advance(index)
            limit = self._limits.get(index)
            if limit is not None:
                why = self._settle(index, limit)
                spans[index] = self._span(index)
                if why:
                    return Proof(spans, 0.0, index, why)
                least = min(least, margin(spans[index], limit))
            if not self._relaxes:
                for source in self._unread[index]:
                    self._boxes[source] = self._input  # nobody reads it any more
            self._progress(index + 1, len(self._plan.steps))
        return Proof(spans, least)

    def _advance(self, index: int) -> None:
        """Bounds of a step by intervals, and by what relaxation has shown before."""
        step = self._plan.steps[index]
        if isinstance(step, InputStep):
            box = self._input
        else:
            sources = [self._boxes[source] for source in step.reads]
            box = bound_step(step, self._constants.of(index), sources)
            pattern = self._patterns.get(index)
            if pattern is not None:
                ends = bound_pattern(pattern, [self._boxes[i] for i in pattern.sources])
                box = box.within(*ends)
        if index in self._tight:
            box = box.within(*self._tight[index])
        if index < len(self._boxes):
            self._boxes[index] = box
        else:
            self._boxes.append(box)

    def _settle(self, index: int, limit: Span) -> str:
        """Show that a step stays within its limits; what was in the way, or nothing."""
        if self._relaxes:
            self._look_closer(index)
        if self._span(index).inside(limit):
            return ""
        if not self._relaxes:
            return "memory"
        try:
            if self._shown(index, limit):
                return ""
            for before in self._drawn_between(index):
                self._tighten(before)
                for later in range(before, index + 1):
                    self._advance(later)
                self._relaxed.forget()
                if self._span(index).inside(limit):
                    return ""
            return "" if self._shown(index, limit) else "bounds"
        except OutOfTimeError:
            return "time"

    def _look_closer(self, index: int) -> None:
        """Better bounds where they cost little: the next steps' bounds grow out of these.

        Small models by relaxation at once. In others at least linear steps in a row are taken
        together: sums of the same values depend on each other, which intervals cannot see.
        """
        steps = self._plan.steps[: index + 1]
        work = 2 * steps[-1].size * sum(getattr(step, "macs", step.size) for step in steps)
        depends = any(
            isinstance(steps[source], Linear) and source not in self._patterns
            for source in steps[-1].reads
        )
        small = work <= _CHEAP
        if not small and not depends:
            return
        every = np.ones(steps[-1].size, np.bool_)
        with contextlib.suppress(OutOfTimeError):
            self._tight[index] = self._relaxed.bounds(
                index, every, shallow=not small, seconds=self._closer
            )
            self._advance(index)
            if small:
                self._relaxed_fully.add(index)

    def _tighten(self, index: int) -> None:
        low, high = self._relaxed.bounds(index, self._uncertain(index))
        if index in self._tight:
            low, high = (
                np.maximum(low, self._tight[index][0]),
                np.minimum(high, self._tight[index][1]),
            )
        self._tight[index] = low, high
        self._relaxed_fully.add(index)

    def _shown(self, index: int, limit: Span) -> bool:
        """Try to show the limits of a step from the bounds of all before."""
        box = self._boxes[index]
        outside = (box.low < limit.low) | (box.high > limit.high)
        low, high = self._relaxed.bounds(index, outside, (limit.low, limit.high))
        better = box.within(low, high)
        self._boxes[index] = better
        return self._span(index).inside(limit)

    def _drawn_between(self, index: int) -> list[int]:
        """What non-linear steps read on the way to ``index``, if it was not relaxed yet."""
        wanted: set[int] = set()
        seen, left = {index}, [index]
        while left:
            at = left.pop()
            step, pattern = self._plan.steps[at], self._patterns.get(at)
            sources = step.reads if pattern is None else pattern.sources
            if pattern is not None or isinstance(step, (Curved, ProductStep)):
                wanted.update(sources)
            left += set(sources) - seen
            seen.update(sources)
        return sorted(wanted - self._relaxed_fully - {0, index})

    def _uncertain(self, index: int) -> NDArray[np.bool_]:
        """Values whose bounds matter: whose sign is open, if all lines are those of a ReLU."""
        box = self._boxes[index]
        for at, step in enumerate(self._plan.steps):
            pattern = self._patterns.get(at)
            if pattern is None and isinstance(step, (Curved, ProductStep)):
                bent = index in step.reads and not isinstance(step, (ReluStep, RectifyStep))
            elif isinstance(pattern, Curve):
                bent = index == pattern.source and not isinstance(
                    pattern.step, (ReluStep, RectifyStep)
                )
            else:
                bent = pattern is not None and index in pattern.sources
            if bent:
                return np.ones(box.low.size, np.bool_)
        wanted: NDArray[np.bool_] = (box.low < 0) & (box.high > 0)
        return wanted

    def _span(self, index: int) -> Span:
        box, bits = self._boxes[index], self._limits[index].bits
        return Span(float(box.low.min()), float(box.high.max()), bits)


def _last_uses(plan: Plan, patterns: Mapping[int, Pattern]) -> list[list[int]]:
    """For each step, the values that are not looked at after it."""
    last: dict[int, int] = {}
    for index, step in enumerate(plan.steps):
        pattern = patterns.get(index)
        for source in (*step.reads, *(pattern.sources if pattern is not None else ())):
            last[source] = index
    ends: list[list[int]] = [[] for _ in plan.steps]
    for source, index in last.items():
        ends[index].append(source)
    return ends

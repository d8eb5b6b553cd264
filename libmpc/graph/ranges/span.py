"""Where values may lie, and where they do."""

from __future__ import annotations

import math
from dataclasses import dataclass

from libmpc.graph.plan import (
    OutputStep,
    Plan,
    PositiveStep,
    RectifyStep,
    ReluStep,
    Step,
    TruncateStep,
)

SAFETY = 16.0  # how far below their limits values on samples must stay


@dataclass(frozen=True)
class Span:
    """The least and the largest value of one step, as integers at scale 2^``bits``."""

    low: float
    high: float
    bits: int = 32

    @property
    def reach(self) -> float:
        """The larger of both, by size, as a real number."""
        return max(abs(self.low), abs(self.high)) / 2.0**self.bits

    def inside(self, limit: Span) -> bool:
        """Whether every value lies within ``limit``."""
        return limit.low <= self.low and self.high <= limit.high

    def __str__(self) -> str:
        return f"{self.low / 2.0**self.bits:.6g} to {self.high / 2.0**self.bits:.6g}"


def exact_for(step: Step) -> Span | None:
    """Where what a step reads must lie, for it to be exact; ``None``: anywhere. Sharp."""
    if isinstance(step, ReluStep):
        return Span(-(2.0**47) + 2.0**16, 2.0**47)
    if isinstance(step, TruncateStep):
        return Span(-(2.0**46), 2.0**46)
    if isinstance(step, (RectifyStep, PositiveStep)):
        return Span(-(2.0**31) + 1.0, 2.0**31, 16)
    if isinstance(step, OutputStep):
        return Span(-(2.0**47), 2.0**47 - 1.0)
    return None


def limits(plan: Plan) -> dict[int, Span]:
    """Where values must stay for all their readers to be exact, by step.

    Values that are not in it may wrap around: sums and products modulo 2^48 stay right as long as
    what is opened in the end lies within its limits.
    """
    found: dict[int, Span] = {}
    for step in plan.steps:
        limit = exact_for(step)
        for source in step.reads if limit is not None else ():
            assert limit is not None
            old = found.get(source, limit)
            low, high = max(old.low, limit.low), min(old.high, limit.high)
            found[source] = Span(low, high, limit.bits)
    return dict(sorted(found.items()))


def margin(span: Span, limit: Span) -> float:
    """By what factor values could grow and still stay within their limits."""
    up = limit.high / span.high if span.high > 0 else math.inf
    down = limit.low / span.low if span.low < 0 else math.inf
    return min(up, down)

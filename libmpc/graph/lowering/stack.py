"""Steps in which parties talk, taken together where they do not need each other.

Branches of a network, the two ReLUs of a clip, and the pairs of a max pooling then cost one
step's rounds. The results are the same to the bit.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from libmpc.graph.lowering.cost import ROUNDS, STACKED
from libmpc.graph.lowering.prune import rewired
from libmpc.graph.plan import (
    ConcatStep,
    PositiveStep,
    RectifyStep,
    ReluStep,
    SliceStep,
    Step,
    TruncateStep,
)

_MEMBERS = 1024  # inputs of one concat step

Talking = ReluStep | TruncateStep | RectifyStep | PositiveStep


@dataclass
class Stacked:
    """Steps in their new order.

    Attributes:
        steps: the new steps.
        origins: for each, the old steps that it does.
        index: for each old step, the new one that has its value.
    """

    steps: list[Step] = field(default_factory=list)
    origins: list[tuple[int, ...]] = field(default_factory=list)
    index: dict[int, int] = field(default_factory=dict)

    def put(self, step: Step, *origins: int) -> int:
        self.steps.append(step)
        self.origins.append(origins)
        return len(self.steps) - 1


def stack(steps: Sequence[Step]) -> Stacked:
    """Take independent steps of one kind together.

    1. What needs no message is done as soon as what it reads is there, in the old order.
    2. When nothing is left but steps that talk, the one with the most rounds from its beginning
       to the output says which kind is next (the first one of several), and all steps of this
       kind that could run are run: up to 2^20 values at once as one step on their concatenation,
       in the old order, of which every one's result is a slice.
    """
    made = Stacked()
    left = _rounds_left(steps)
    readers: list[list[int]] = [[] for _ in steps]
    missing = [len(set(step.reads)) for step in steps]
    for old, step in enumerate(steps):
        for source in set(step.reads):
            readers[source].append(old)
    quiet: list[int] = []  # a heap of what can be done without a message
    ready: list[int] = []  # what can be done with one

    def done(old: int) -> None:
        for reader in readers[old]:
            missing[reader] -= 1
            if not missing[reader]:
                _file(reader)

    def _file(old: int) -> None:
        if isinstance(steps[old], Talking):
            ready.append(old)
        else:
            heapq.heappush(quiet, old)

    _file(0)
    while quiet or ready:
        while quiet:
            old = heapq.heappop(quiet)
            made.index[old] = made.put(rewired(steps[old], made.index), old)
            done(old)
        if not ready:
            break
        kind = steps[max(ready, key=lambda old: (left[old], -old))].op
        group = sorted(old for old in ready if steps[old].op == kind)
        ready = [old for old in ready if steps[old].op != kind]
        for part in _parts(steps, group):
            _together(made, steps, part)
        for old in group:
            done(old)
    return made


def _rounds_left(steps: Sequence[Step]) -> list[int]:
    """For each step, the rounds of the longest way from its beginning to the output."""
    left = [0] * len(steps)
    for old in range(len(steps) - 1, -1, -1):
        left[old] += ROUNDS.get(steps[old].op, 0)
        for source in steps[old].reads:
            left[source] = max(left[source], left[old])
    return left


def _parts(steps: Sequence[Step], group: list[int]) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for old in group:
        if part and (size + steps[old].size > STACKED or len(part) == _MEMBERS):
            yield part
            part, size = [], 0
        part.append(old)
        size += steps[old].size
    yield part


def _together(made: Stacked, steps: Sequence[Step], part: list[int]) -> None:
    first = steps[part[0]]
    if len(part) == 1:
        made.index[part[0]] = made.put(rewired(first, made.index), part[0])
        return
    sizes = [steps[old].size for old in part]
    inputs = tuple(made.index[source] for old in part for source in steps[old].reads)
    concat = ConcatStep(inputs=inputs, shapes=tuple((size,) for size in sizes), axis=0)
    total = concat.output_shape
    source = made.put(concat, *part)
    assert isinstance(first, Talking)
    one = made.put(first.model_copy(update={"source": source, "shape": total}), *part)
    start = 0
    for old, size in zip(part, sizes, strict=True):
        cut = SliceStep(source=one, shape=total, starts=(start,), sizes=(size,), strides=(1,))
        made.index[old] = made.put(cut, old)
        start += size

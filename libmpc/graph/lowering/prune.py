"""Drops steps that nobody reads, and numbers the rest anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from libmpc.graph.plan import AddStep, ConcatStep, InputStep, ProductStep, Step, TailStep


def rewired(step: Step, index: Mapping[int, int]) -> Step:
    """The step with other numbers for what it reads."""
    assert not isinstance(step, TailStep)
    if isinstance(step, InputStep):
        return step
    if isinstance(step, (AddStep, ConcatStep, ProductStep)):
        inputs = tuple(index[source] for source in step.inputs)
        return step.model_copy(update={"inputs": inputs})
    return step.model_copy(update={"source": index[step.source]})


def needed(steps: Sequence[Step]) -> list[int]:
    """The steps that the last one depends on, in order; the input is always one of them."""
    wanted = {0, len(steps) - 1}
    for index in range(len(steps) - 1, -1, -1):
        if index in wanted:
            wanted.update(steps[index].reads)
    return sorted(wanted)

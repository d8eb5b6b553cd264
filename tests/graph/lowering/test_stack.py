"""Steps taken together: the order, the limits, and that values stay what they are."""

from __future__ import annotations

import pytest

from libmpc.graph.lowering import cost, stack
from libmpc.graph.lowering.prune import needed
from libmpc.graph.plan import (
    AddStep,
    ConcatStep,
    InputStep,
    LiftStep,
    OutputStep,
    Plan,
    PositiveStep,
    RectifyStep,
    SliceStep,
    Step,
    TruncateStep,
)


def chain(*, size: int = 4) -> list[Step]:
    """Two branches: rectify, then truncate; and truncate, rectify, rectify."""
    shape = (size,)
    return [
        InputStep(shape=shape),
        RectifyStep(source=0, shape=shape),
        LiftStep(source=1, shape=shape),
        TruncateStep(source=2, shape=shape),
        LiftStep(source=0, shape=shape),
        TruncateStep(source=4, shape=shape),
        RectifyStep(source=5, shape=shape),
        RectifyStep(source=6, shape=shape),
        AddStep(inputs=(3, 7), coefficients=(1, 1), shape=shape),
        LiftStep(source=8, shape=shape),
        OutputStep(source=9, shape=shape),
    ]


def test_the_longest_way_goes_first() -> None:
    made = stack.stack(chain())
    talking = [step.op for step in made.steps if step.op in cost.ROUNDS]
    # 10 rounds are left from the truncation on, 7 from the first rectification; then 4 and 3.
    assert talking == ["truncate", "rectify", "truncate", "rectify"]
    both = made.origins[[step.op for step in made.steps].index("rectify")]
    assert both == (1, 6)
    assert Plan(steps=tuple(made.steps)).output_shape == (4,)


def test_results_are_slices() -> None:
    made = stack.stack(chain(size=3))
    first, second = (made.steps[made.index[old]] for old in (1, 6))
    assert isinstance(first, SliceStep) and isinstance(second, SliceStep)
    assert (first.starts, second.starts, first.sizes) == ((0,), (3,), (3,))
    together = made.steps[first.source]
    assert isinstance(together, RectifyStep) and together.shape == (6,)
    joined = made.steps[together.source]
    assert isinstance(joined, ConcatStep)
    assert joined.inputs == (made.index[0], made.index[5])


def test_one_of_a_kind_stays_as_it_is() -> None:
    steps: list[Step] = [
        InputStep(shape=(2, 2)),
        PositiveStep(source=0, shape=(2, 2)),
        RectifyStep(source=0, shape=(4,)),
        AddStep(inputs=(1, 2), coefficients=(1, 1), shape=(4,)),
        LiftStep(source=3, shape=(4,)),
        OutputStep(source=4, shape=(4,)),
    ]
    assert stack.stack(steps).steps == steps


def test_no_more_values_than_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "STACKED", 10)
    steps: list[Step] = [InputStep(shape=(4,))]
    steps += [AddStep(inputs=(0,), coefficients=(c,), shape=(4,)) for c in (2, 3, 4, 5, 6)]
    steps += [RectifyStep(source=i, shape=(4,)) for i in range(1, 6)]
    steps.append(AddStep(inputs=(6, 7, 8, 9, 10), coefficients=(1,) * 5, shape=(4,)))
    steps += [LiftStep(source=11, shape=(4,)), OutputStep(source=12, shape=(4,))]
    made = stack.stack(steps)
    assert [s.size for s in made.steps if isinstance(s, RectifyStep)] == [8, 8, 4]


def test_a_value_that_is_read_twice_by_one_step() -> None:
    steps: list[Step] = [
        InputStep(shape=(2,)),
        AddStep(inputs=(0, 0), coefficients=(1, 2), shape=(2,)),
        LiftStep(source=1, shape=(2,)),
        OutputStep(source=2, shape=(2,)),
    ]
    assert stack.stack(steps).steps == steps


def test_what_nobody_reads() -> None:
    steps: list[Step] = [
        InputStep(shape=(2,)),
        LiftStep(source=0, shape=(2,)),
        RectifyStep(source=0, shape=(2,)),
        OutputStep(source=1, shape=(2,)),
    ]
    assert needed(steps) == [0, 1, 3]

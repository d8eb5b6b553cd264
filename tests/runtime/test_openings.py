"""Which openings are prepared with the linear step before them."""

import pytest

from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    DenseStep,
    InputStep,
    LiftStep,
    OutputStep,
    Plan,
    ProductStep,
    ReluStep,
    SumStep,
    TruncateStep,
)
from libmpc.runtime.openings import early_openings
from tests.runtime.plans import residual_plan, small_plan

SHAPE = (4,)


def plan_of(*steps: object, output: int | None = None) -> Plan:
    """After an input of four values; ``steps`` end with what goes out, additive."""
    last = len(steps) if output is None else output
    return Plan(steps=(InputStep(shape=SHAPE), *steps, OutputStep(source=last, shape=SHAPE)))  # type: ignore[arg-type]


def dense(source: int) -> DenseStep:
    return DenseStep(source=source, inputs=4, outputs=4)


def add(*inputs: int, coefficients: tuple[int, ...] | None = None) -> AddStep:
    ones = coefficients or (1,) * len(inputs)
    return AddStep(inputs=inputs, coefficients=ones, shape=SHAPE)


def relu(source: int) -> ReluStep:
    return ReluStep(source=source, shape=SHAPE)


def lift(source: int) -> LiftStep:
    return LiftStep(source=source, shape=SHAPE)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (small_plan(), {2: 3}),
        (residual_plan(), {1: 2, 4: 6}),  # step 7 is opened twice
        (plan_of(dense(0), TruncateStep(source=1, shape=SHAPE), dense(2)), {1: 2}),
        (plan_of(lift(0), relu(1), lift(2)), {1: 2}),
        (plan_of(dense(0), relu(1), relu(1), add(2, 3), dense(4)), {}),
        (plan_of(dense(0), add(1, 1), relu(2), dense(3)), {}),
        (plan_of(dense(0), add(1, coefficients=(-1,)), relu(2), dense(3)), {}),
        (plan_of(dense(0), lift(0), add(1, 2, coefficients=(1, -1)), relu(3), dense(4)), {1: 4}),
        (plan_of(dense(0), lift(0), add(1, 2), add(3, 2), relu(4), dense(5)), {1: 5}),
        (plan_of(dense(0), add(1), relu(2), dense(3), add(4, 2)), {}),  # the sum goes out, too
        (
            plan_of(
                dense(0), BiasStep(source=1, shape=SHAPE, factor_shape=(1,)), relu(2), dense(3)
            ),
            {1: 3},
        ),
        (plan_of(ProductStep(inputs=(0, 0), shape=SHAPE), relu(1), dense(2)), {}),
        (plan_of(dense(0), SumStep(source=1, shape=(4, 1), axes=(1,)), relu(2), dense(3)), {}),
    ],
)
def test_where_the_mask_goes(plan: Plan, expected: dict[int, int]) -> None:
    assert early_openings(plan) == expected


def test_a_deep_sum_is_no_problem() -> None:
    steps: list[object] = [dense(0), *(add(index) for index in range(1, 4000))]
    plan = plan_of(*steps, relu(len(steps)), dense(len(steps) + 1))
    assert early_openings(plan) == {1: 4001}

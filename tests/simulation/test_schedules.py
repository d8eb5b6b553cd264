"""Random schedules: no wrong answer, nothing used twice, nothing acknowledged lost, no hang."""

from __future__ import annotations

import pytest

from tests.simulation.many import run_many
from tests.simulation.schedule import run_schedule

QUICK, SLOW = 20, 2000
# Seconds of processor time; on a busy machine they are many more of a clock.
pytestmark = pytest.mark.timeout(600)


def _run(seeds: range, workers: int | None = 1) -> tuple[int, int]:
    answers = orders = 0
    for outcome in run_many(seeds, workers):
        trace = "\n".join(outcome.trace)
        again = f"python -m tests.simulation --seed {outcome.seed}"
        assert outcome.violation is None, f"{trace}\n{outcome.violation}\nagain: {again}"
        answers += outcome.answers
        orders += outcome.orders
    return answers, orders


@pytest.mark.parametrize("first", range(10_000, 10_000 + 3 * QUICK, QUICK))
def test_random_schedules_keep_every_promise(first: int) -> None:
    answers, orders = _run(range(first, first + QUICK))
    # They are of use only if work is done in them.
    assert answers > 2 * QUICK
    assert orders > QUICK


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_thousands_of_schedules() -> None:
    _run(range(20_000, 20_000 + SLOW), workers=None)


def test_a_seed_is_the_same_schedule_every_time() -> None:
    for seed in range(30_000, 30_003):
        first, second = run_schedule(seed), run_schedule(seed)
        assert first.trace == second.trace
        assert (first.steps, first.seconds) == (second.steps, second.seconds)

"""The simulation finds each seeded bug, and for the right reason."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.schedule import run_schedule

MOST = 60
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_seeded_bug_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    said = []
    for seed in range(mutant.seed, mutant.seed + MOST):
        with mutant.make():
            outcome = run_schedule(seed, mutant.faults)
        if outcome.violation is not None:
            said.append(outcome.violation)
            if any(words in outcome.violation for words in mutant.found_by):
                break
    else:
        pytest.fail(f"{name}: not found in {MOST} schedules; said: {said}")

"""Each mutant is found by the measurements that production code passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from libmpc.runtime import warm_up
from tests.privacy.mutants import MUTANTS, Mutant, send_a_step_again
from tests.privacy.recording import record
from tests.privacy.test_views import LARGE, RUNS, findings


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_is_found(tmp_path: Path, mutant: Mutant) -> None:
    warm_up()
    recording = record(tmp_path / "parties", LARGE, runs=RUNS, mutant=mutant)
    found = findings(recording, MUTANTS[mutant])
    if mutant is send_a_step_again:
        assert found == ["masked input sent twice", "a party refuses"]
    else:
        # Nobody notices but the measurements: every answer comes, and is right.
        assert recording.answers == [True] * RUNS
        assert found
        assert "a party refuses" not in found

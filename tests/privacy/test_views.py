"""Each single party's view, alone or with gateway and client, is the same whatever the values.

Rates of false alarms: see ``statistics``.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from libmpc.runtime import warm_up
from tests.privacy import views
from tests.privacy.recording import OTHER_WEIGHTS, WEIGHTS, Recording, record
from tests.privacy.statistics import different_lanes, together, uneven_lanes

RUNS = 16
ZERO = np.zeros(2)
LARGE = np.array([7.5, -8.0])
CASES = {
    "zeros": (ZERO, WEIGHTS),
    "large values": (LARGE, WEIGHTS),
    "other weights": (LARGE, OTHER_WEIGHTS),
}


def findings(recording: Recording, party: int) -> list[str]:
    """What is wrong with a view; empty where nothing is."""
    found = list(views.twice(recording))
    if None in recording.answers:
        return [*found, "a party refuses"]
    found += uneven_lanes(views.lanes(recording, party))
    return found + [f for f in together(views.samples(recording, party)) if f not in EXPECTED]


#: A message is its cover and what the coalition can compute. Where all factors of that happen to be
#: even, the lowest bits of message and cover are one. No other pair is let through.
EXPECTED = {
    f"cover of the {cover} ({run}) and {message} ({run})"
    for cover, message in (
        ("input", "masked input"),
        ("opening", "opening"),
        ("result", "masked result"),
    )
    for run in ("a run", "the next run")
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    warm_up()
    return {
        name: record(tmp_path_factory.mktemp("parties"), row, weights, runs=RUNS)
        for name, (row, weights) in CASES.items()
    }


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_view_is_uniform_and_without_connections(
    recordings: dict[str, Recording], case: str, party: int
) -> None:
    assert recordings[case].answers == [True] * RUNS
    assert len(recordings[case].runs) == RUNS
    assert findings(recordings[case], party) == []


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize(("one", "other"), list(combinations(CASES, 2)))
def test_two_views_cannot_be_told_apart(
    recordings: dict[str, Recording], one: str, other: str, party: int
) -> None:
    first, second = recordings[one], recordings[other]
    assert views.shape(first) == views.shape(second)
    assert different_lanes(views.lanes(first, party), views.lanes(second, party)) == []

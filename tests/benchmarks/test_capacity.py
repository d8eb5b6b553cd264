"""The model of capacity: what holds whatever the constants are, and what docs/capacity.md says."""

from __future__ import annotations

import pytest

from benchmarks.capacity import FAR, WIDE, Row, fit, table
from benchmarks.capacity_actors import RUNS, Station
from benchmarks.capacity_model import Scenario, Simulation, slower
from benchmarks.networks import CNN
from libmpc.runtime.forecast import NETWORKS, Forecast
from libmpc.runtime.speed import MEASURED

PLAN = CNN.model.plan


def test_a_station_serves_in_order_and_as_many_at_once_as_it_has_servers() -> None:
    one, two = Station("one"), Station("two", servers=2, speed=2.0)
    assert [one.at(0.0, 1.0), one.at(0.5, 1.0), one.at(5.0, 1.0)] == [1.0, 2.0, 6.0]
    assert [two.at(0.0, 2.0), two.at(0.0, 2.0), two.at(0.0, 2.0)] == [1.0, 1.0, 2.0]
    assert (one.busy, two.busy) == (3.0, 3.0)


def test_one_seed_gives_one_outcome() -> None:
    scenario = Scenario(rate=200.0, network=WIDE, seconds=2.0)
    first, second = (Simulation(PLAN, scenario).run() for _ in range(2))
    assert first == second
    other = Simulation(PLAN, Scenario(rate=200.0, network=WIDE, seconds=2.0, seed=2)).run()
    assert other != first


def test_an_idle_system_is_as_quick_as_explain_says() -> None:
    """Both are made from the same constants, put together in different ways."""
    found = Simulation(PLAN, Scenario(clients=1, network=FAR, seconds=5.0)).run()
    estimate = Forecast(PLAN).latency(1, FAR).total
    assert found.percentile(0.5) == pytest.approx(estimate, rel=0.1)
    assert found.mean_batch == 1


def test_large_queries_are_bound_by_the_cores_of_one_machine() -> None:
    here = NETWORKS[0]
    found = Simulation(PLAN, Scenario(clients=2, images=128, network=here, seconds=10.0)).run()
    expected = Forecast(PLAN).throughput(128, here).images
    assert found.images_per_second == pytest.approx(expected, rel=0.1)
    assert found.bottleneck == "the machine's cores"


@pytest.mark.parametrize(
    ("rate", "network", "bottleneck"),
    [
        (1_000.0, FAR, "link 2 → 1"),
        (3_000.0, WIDE, "gateway's core"),
    ],
)
def test_what_breaks_first(rate: float, network: object, bottleneck: str) -> None:
    scenario = Scenario(rate=rate, network=network, seconds=2.0)  # type: ignore[arg-type]
    found = Simulation(PLAN, scenario).run()
    assert found.bottleneck == bottleneck
    assert not Row(scenario, found).keeps_up
    assert "**" in table([Row(scenario, found)])


def test_triples_add_up_where_gateways_keep_to_their_own() -> None:
    rates = []
    for triples in (1, 2):
        scenario = Scenario(
            clients=64 * triples, triples=triples, gateways=2 * triples, own=1, network=WIDE
        )
        rates.append(Simulation(PLAN, scenario).run().images_per_second)
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.1)


def test_a_slower_machine_is_fitted() -> None:
    here = NETWORKS[0]
    scenario = Scenario(clients=1, network=here, seconds=10.0)
    half = Simulation(PLAN, scenario, slower(MEASURED, 2.0)).run().images_per_second
    assert fit(half) == pytest.approx(2.0, rel=0.05)


def test_no_more_runs_at_once_than_a_party_has() -> None:
    found = Simulation(PLAN, Scenario(rate=100.0, network=FAR, seconds=5.0)).run()
    assert found.used["runs at once"] <= 1.0 + 1e-9
    assert RUNS == 4

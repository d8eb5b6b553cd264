"""Estimates against what they are made of. Against queries: ``benchmarks/estimates.py``."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from libmpc import data
from libmpc.graph.loading import read_file
from libmpc.graph.lowering import lower
from libmpc.graph.plan import Plan
from libmpc.party.leader import MAX_RUNS
from libmpc.runtime import plan_cost
from libmpc.runtime.forecast import (
    GIGABIT,
    NETWORKS,
    RUNS,
    Forecast,
    Network,
)
from libmpc.runtime.ladder import LADDER
from libmpc.runtime.speed import MEASURED, Machine

NOTHING = replace(
    MEASURED,
    cores=1,
    shared=1.0,
    **{f.name: 0.0 for f in fields(Machine) if f.name not in ("name", "cores", "shared")},
)
README = (Path(__file__).parents[2] / "README.md").read_text()
FAR = Network("far", 0.05, GIGABIT)


def plan(name: str = "short-conv-mnist.h5") -> Plan:
    return lower(read_file(data.model_path(name))).plan


def test_as_many_runs_at_once_as_parties_have() -> None:
    assert RUNS == MAX_RUNS


@pytest.mark.parametrize("batch", [1, 128])
def test_latency_without_a_machine_is_delay_and_bytes(batch: int) -> None:
    latency = Forecast(plan(), NOTHING).latency(batch, FAR)
    assert latency.delay == 14 * 0.05  # 13 rounds, and the way of the bundle's name
    assert latency.transfer == plan_cost(plan(), batch).online_bytes / GIGABIT
    assert latency.total == latency.delay + latency.transfer


def test_latency_without_a_network_is_the_machine() -> None:
    machine = replace(NOTHING, round=1e-3, query=5e-3, mac=1e-9)
    latency = Forecast(plan(), machine).latency(1, Network("near", 0.0, float("inf"), 2))
    assert latency.total == pytest.approx(13e-3 + 5e-3 + 106_282e-9)
    assert latency.query == 5e-3


def test_runs_of_one_query_wait_together() -> None:
    forecast = Forecast(plan(), NOTHING)
    one, four, five = (forecast.latency(n * 128, FAR) for n in (1, 4, 5))
    assert one.delay == four.delay == five.delay / 2
    assert four.transfer == 4 * one.transfer


def test_throughput_is_the_least_of_its_bounds() -> None:
    cost = plan_cost(plan(), 32)
    bare = Forecast(plan(), replace(NOTHING, dealt_byte=1e-9))
    flow = bare.throughput(32, FAR)
    assert flow.processor == pytest.approx(32 / (cost.correction_bytes * 1e-9))
    assert flow.bandwidth == 32 * GIGABIT / cost.correction_bytes
    assert flow.delay == 4 * 32 / bare.latency(32, FAR).total
    assert flow.images == min(flow.processor, flow.bandwidth, flow.delay)
    assert getattr(flow, flow.bound) == flow.images


@pytest.mark.parametrize("batch", LADDER)
def test_a_worse_network_makes_everything_slower(batch: int) -> None:
    forecast = Forecast(plan())
    for worse in (replace(FAR, bandwidth=FAR.bandwidth / 2), replace(FAR, delay=2 * FAR.delay)):
        assert forecast.latency(batch, worse).total > forecast.latency(batch, FAR).total
        slow, fast = forecast.throughput(batch, worse), forecast.throughput(batch, FAR)
        assert slow.images <= fast.images
        assert slow.delay < fast.delay


def test_services_on_one_machine_share_its_cores() -> None:
    forecast = Forecast(plan())
    one, two = (forecast.throughput(32, replace(NETWORKS[0], shared_cores=n)) for n in (1, 2))
    assert two.processor == 2 * one.processor
    own = forecast.throughput(32, replace(NETWORKS[0], shared_cores=None))
    assert own.processor > two.processor


@pytest.mark.parametrize("name", ["short-conv-mnist.h5", "perceptron-784-500-10.keras"])
def test_the_forecast_is_near_what_was_measured(name: str) -> None:
    """README's table was measured where the constants were; a third is what is promised."""
    pattern = rf"^\| `{name}` \|.*?([\d,]+) images a second in queries of 128"
    row = re.search(pattern, README, re.MULTILINE)
    assert row is not None
    measured = float(row[1].replace(",", ""))
    found = Forecast(plan(name)).throughput(128, NETWORKS[0]).images
    assert found == pytest.approx(measured, rel=1 / 3)

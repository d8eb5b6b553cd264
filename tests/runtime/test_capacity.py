"""The arithmetic of ``libmpc capacity`` against what it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libmpc import data
from libmpc.graph.loading import read_file
from libmpc.graph.lowering import lower
from libmpc.runtime import plan_cost
from libmpc.runtime.capacity import HOURS, Demand, batch_of, plan_capacity
from libmpc.runtime.forecast import GIGABIT, Forecast, Network
from libmpc.runtime.ladder import LADDER
from libmpc.runtime.speed import MEASURED

PLAN = lower(read_file(data.model_path("short-conv-mnist.h5"))).plan
WIDE = Network("wide", 1e-3, 1000 * GIGABIT)


def test_traffic_is_the_declared_cost() -> None:
    found = plan_capacity(PLAN, Demand(200, images=8, network=WIDE))
    rung = int(found["batch"])
    cost = plan_cost(PLAN, rung)
    assert found["rate"] == 1600
    assert found["masks"] == pytest.approx(1600 * 8e-6 * cost.correction_bytes / rung)
    assert found["rounds"] == pytest.approx(1600 * 8e-6 * cost.online_bytes / rung)
    month = found["masks"] * 1e6 / 8 * 3600 * HOURS / 1e12
    assert found["masks_month"] == pytest.approx(month)


def test_batches_grow_with_the_load() -> None:
    forecast = Forecast(PLAN)
    found = [batch_of(forecast, rate, 1, WIDE) for rate in (1, 100, 1_000, 10_000)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1, LADDER[-1])
    assert batch_of(forecast, 1, 128, WIDE) == 128


@pytest.mark.parametrize("load", [1, 100, 10_000])
def test_triples_have_the_headroom_that_was_asked_for(load: float) -> None:
    none = plan_capacity(PLAN, Demand(load, network=WIDE, spare=0))
    two = plan_capacity(PLAN, Demand(load, network=WIDE, spare=2))
    assert two["triples"] == none["triples"] + 2
    assert none["triples"] * 0.6 * none["triple_rate"] >= load
    assert max(1, none["triples"] - 1) * 0.6 * none["triple_rate"] < max(load, none["triple_rate"])
    assert none["cores"] == 3 * none["triples"] + none["gateways"]
    assert none["working"] < none["cores"]


def test_queries_of_one_image_cost_more_than_the_same_images_together() -> None:
    many = plan_capacity(PLAN, Demand(6_400, network=WIDE))
    few = plan_capacity(PLAN, Demand(50, images=128, network=WIDE))
    assert many["rate"] == few["rate"]
    assert many["party1"] > few["party1"]
    assert many["triples"] > few["triples"]
    assert many["gateways"] > few["gateways"]
    cheap = replace(MEASURED, open_cpu=0.0)
    assert plan_capacity(PLAN, Demand(6_400, network=WIDE), cheap)["party0"] < many["party0"]


def test_a_link_that_is_too_thin_is_said_to_be() -> None:
    thin = plan_capacity(PLAN, Demand(1_000, network=Network("thin", 1e-3, GIGABIT)))
    (link,) = [line for line in thin.lines if line.key == "link"]
    assert "DOES NOT FIT" in link.how
    assert link.value == pytest.approx(GIGABIT / (thin["masks"] * 1e6 / 8 / 1_000))
    wide = plan_capacity(PLAN, Demand(1_000, network=WIDE))
    assert "DOES NOT FIT" not in "".join(line.how for line in wide.lines)


def test_cost_is_cores_and_traffic() -> None:
    free = plan_capacity(PLAN, Demand(100, network=WIDE))
    assert "million_cost" not in {line.key for line in free.lines}
    found = plan_capacity(PLAN, Demand(100, network=WIDE, core_hour=0.04, gigabyte=0.05))
    assert found["core_cost"] == pytest.approx(found["cores"] * HOURS * 0.04)
    carried = found["masks_month"] + 2 * found["rounds_month"] + found["clients_month"]
    assert found["traffic_cost"] == pytest.approx(1e3 * carried * 0.05)
    images = 100 * 3600 * HOURS
    both = found["core_cost"] + found["traffic_cost"]
    assert found["million_cost"] == pytest.approx(1e6 * both / images)

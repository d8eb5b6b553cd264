"""Estimates as people and programs see them."""

from __future__ import annotations

import pytest

from libmpc import data
from libmpc.cli.estimates import PARTS, bar
from libmpc.runtime.forecast import NETWORKS
from libmpc.runtime.ladder import LADDER
from tests.cli.run import Cli

SHIPPED = data.model_path("short-conv-mnist.h5")


def test_json_has_every_number(cli: Cli) -> None:
    document = cli("explain", SHIPPED, "--network", "7", "50", "--json").json()["estimates"]
    assert document["machine"]["mac"] > 0
    assert [row["name"] for row in document["networks"]] == [*(n.name for n in NETWORKS), "yours"]
    for row in document["networks"]:
        latency = row["latency_seconds"]
        assert sum(latency[part] for part, _, _ in PARTS) == pytest.approx(latency["total"])
        assert [flow["batch"] for flow in row["throughput"]] == list(LADDER)
        for flow in row["throughput"]:
            allowed = [value for value in flow["allowed_by"].values() if value is not None]
            assert flow["images_per_second"] == min(allowed)
            assert flow["allowed_by"][flow["bound"]] == flow["images_per_second"]
    yours = document["networks"][-1]
    assert yours["latency_seconds"]["delay"] == 14 * 0.007
    assert yours["bandwidth_bytes_per_second"] == 50e6 / 8
    assert document["networks"][0]["bandwidth_bytes_per_second"] is None


def test_the_text_shows_every_network_twice(cli: Cli) -> None:
    lines = cli("explain", SHIPPED, "--network", "7", "50").out.splitlines()
    for name in (*(network.name for network in NETWORKS), "yours"):
        assert len([line for line in lines if line.startswith(f"{name} ")]) == 2
    (legend,) = [line for line in lines if all(what in line for _, _, what in PARTS)]
    assert legend.split()[0] == "█"


@pytest.mark.parametrize("network", [("-1", "10"), ("nan", "10"), ("1", "0"), ("1", "inf")])
def test_a_network_that_is_none(cli: Cli, network: tuple[str, str]) -> None:
    done = cli("explain", SHIPPED, "--network", *network)
    assert done.code in (1, 2)
    assert not done.out


def test_a_bar_is_split_as_its_parts_are() -> None:
    assert bar([1, 0, 0, 0, 1]) == "█" * 20 + "·" * 20
    assert bar([1, 1, 1, 1, 1]) == "█" * 8 + "▓" * 8 + "▒" * 8 + "░" * 8 + "·" * 8
    assert len(bar([0.7, 1e-9, 0.1, 0.3, 0.05])) == 40

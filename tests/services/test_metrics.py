"""Names of metrics: what Prometheus's own linter asks for, and one prefix."""

from __future__ import annotations

import re

import pytest

from libmpc.meters import Histogram, Level
from services.common.machine import COMMON
from services.common.metrics import Family, make_registry
from services.gateway import families as gateway
from services.gateway.metrics import Metrics
from services.party import families as party

ALL = (*COMMON, *party.FAMILIES, *gateway.FAMILIES)
_NOT_BASE_UNITS = r"(^|_)(ms|us|ns|milliseconds?|minutes?|hours?|kb|mb|kib|mib|bits|percent)(_|$)"

every_family = pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)


@every_family
def test_names_keep_prometheus_rules(family: Family) -> None:
    assert re.fullmatch(r"libmpc_(build|service|party|gateway)(_[a-z]+)+", family.name)
    assert not re.search(_NOT_BASE_UNITS, family.name)
    # The kind is no part of a name, nor is what is added to one when it is scraped.
    assert not re.search(r"_(total|sum|count|bucket|gauge|counter|histogram)($|_)", family.name)
    for unit in ("seconds", "bytes"):
        assert unit not in family.name or family.name.endswith(f"_{unit}")
    assert family.shown.endswith("_total") == (family.kind == "counter")


@every_family
def test_metrics_and_labels_are_explained(family: Family) -> None:
    assert len(family.help) > 10
    assert family.help.endswith(".") or ";" in family.help
    assert "|" not in family.help + "".join(family.labels.values())  # it stands in a table
    for label, values in family.labels.items():
        assert re.fullmatch(r"[a-z]+", label)
        assert label not in ("le", "quantile", "instance", "job")
        assert values


def test_no_two_metrics_share_a_name() -> None:
    names = [family.name for family in ALL]
    assert len(set(names)) == len(names)


def test_a_histogram_counts_at_or_below_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 7.0):
        histogram.observe(value)
    family = Family("libmpc_things", "histogram", "Things.", {"kind": "any"})
    registry = make_registry("party0", (family,), lambda: [(family, ["one"], histogram)])
    value = registry.get_sample_value
    for bound, count in (("1.0", 2), ("2.0", 4), ("+Inf", 5)):
        assert value("libmpc_things_bucket", {"kind": "one", "le": bound}) == count
    assert value("libmpc_things_count", {"kind": "one"}) == histogram.count == 5
    assert value("libmpc_things_sum", {"kind": "one"}) == 12.0


def test_a_level_goes_both_ways() -> None:
    level = Level()
    level.inc()
    level.inc(4)
    level.dec(2)
    assert level.value == 3


def test_what_runs_here_is_shown() -> None:
    (build,) = [m for m in Metrics().registry.collect() if m.name == "libmpc_build_info"]
    (sample,) = build.samples
    assert sample.value == 1
    assert sample.labels["service"] == "gateway"

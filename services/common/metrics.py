"""How a service's counters become Prometheus's text: named once, read only when scraped."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from libmpc._version import __version__
from libmpc.link import LinkTotals
from libmpc.meters import Histogram

#: how a query ended, by the HTTP status of its answer; other statuses are ``rejected``
BY_STATUS = {200: "answered", 400: "invalid", 429: "limited", 503: "unavailable", 500: "failed"}


@dataclass(frozen=True)
class Family:
    """One metric.

    Attributes:
        name: without ``_total``, which counters get.
        help: one sentence or two.
        labels: each label's name, and which values it has.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The name as it is scraped."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


Sample = tuple[Family, Sequence[str], float | Histogram]

BUILD = Family(
    "libmpc_build_info",
    "gauge",
    "Always 1; the labels say what runs here.",
    {"service": "`party0`, `party1`, `party2`, `gateway`", "version": "libmpc's", "python": "its"},
)


class ServiceCollector(Collector):
    """Shows samples as they are when it is asked.

    Args:
        families: all that ``read`` may have samples of.
        read: what there is now.
    """

    def __init__(self, families: Sequence[Family], read: Callable[[], Iterable[Sample]]) -> None:
        self._families = families
        self._read = read

    def collect(self) -> Iterable[Metric]:
        found = {family.name: _metric(family) for family in self._families}
        for family, labels, value in self._read():
            _add(found[family.name], labels, value)
        return list(found.values())


def make_registry(
    service: str, families: Sequence[Family], read: Callable[[], Iterable[Sample]]
) -> CollectorRegistry:
    """A registry of one service and its process.

    Args:
        service: the name of this service, such as ``party0``.
        families, read: as of ``ServiceCollector``.
    """
    build = (service, __version__, platform.python_version())
    registry = CollectorRegistry()
    registry.register(ServiceCollector((BUILD,), lambda: [(BUILD, build, 1)]))
    registry.register(ServiceCollector(families, read))
    ProcessCollector(registry=registry)
    return registry


def _metric(family: Family) -> Metric:
    kinds: dict[str, type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]] = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }
    return kinds[family.kind](family.name, family.help, labels=list(family.labels))


def _add(metric: Metric, labels: Sequence[str], value: float | Histogram) -> None:
    if isinstance(value, Histogram):
        assert isinstance(metric, HistogramMetricFamily)
        bounds = (*(repr(float(bound)) for bound in value.bounds), "+Inf")
        metric.add_metric(labels, list(zip(bounds, value.cumulative, strict=True)), value.sum)
    else:
        assert isinstance(metric, CounterMetricFamily | GaugeMetricFamily)
        metric.add_metric(labels, value)


@dataclass(frozen=True)
class LinkFamilies:
    """Metrics of links to peers."""

    links: Family
    messages: Family
    payload: Family
    wire: Family
    rekeys: Family
    version: Family

    @classmethod
    def of(cls, prefix: str, label: str, values: str) -> LinkFamilies:
        """Those whose names begin with ``prefix``, by a label with these values."""
        by = {label: values}
        ways = by | {"direction": "`sent`, `received`"}

        def counter(name: str, text: str, labels: Mapping[str, str]) -> Family:
            return Family(f"{prefix}_{name}", "counter", text, labels)

        return cls(
            counter("links", "Links that came up; each one between parties begins an epoch.", by),
            counter("link_messages", "Messages, without heartbeats.", ways),
            counter("link_payload_bytes", "Bytes inside the messages.", ways),
            counter(
                "link_wire_bytes", "Bytes of sealed records, before TLS, HTTP/2 and TCP.", ways
            ),
            counter("link_rekeys", "Frame keys replaced at this end, one per 65,536 records.", by),
            Family(
                f"{prefix}_link_version_info",
                "gauge",
                "1 for each wire version that is spoken on a link of this moment.",
                by | {"wire": "such as `1.1`"},
            ),
        )

    @property
    def all(self) -> tuple[Family, ...]:
        return (self.links, self.messages, self.payload, self.wire, self.rekeys, self.version)

    def read(self, totals: LinkTotals, name: Callable[[int], str]) -> Iterable[Sample]:
        """What has gone over the links; ``name`` says what a peer is called."""
        for peer, total in totals.by_peer.items():
            yield self.links, [name(peer)], total.links
            yield self.rekeys, [name(peer)], total.rekeys
            for direction, way in (("sent", total.sent), ("received", total.received)):
                labels = [name(peer), direction]
                yield self.messages, labels, way.messages
                yield self.payload, labels, way.payload_bytes
                yield self.wire, labels, way.wire_bytes
        for peer, (major, minor) in sorted(totals.versions):
            yield self.version, [name(peer), f"{major}.{minor}"], 1

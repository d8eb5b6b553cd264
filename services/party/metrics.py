"""What a party counts, for Prometheus: no value depends on an input, an output or a weight."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from libmpc.party.node import PartyNode


class PartyCollector(Collector):
    """Reads the node when it is scraped."""

    def __init__(self, node: PartyNode) -> None:
        self._node = node

    def collect(self) -> Iterable[Metric]:
        node = self._node
        ready = GaugeMetricFamily("libmpc_party_ready", "1 while an epoch is in force.")
        ready.add_metric([], 0 if node.reason else 1)
        yield ready
        models = GaugeMetricFamily("libmpc_party_models", "Stored models.")
        models.add_metric([], len(node.catalog.entries))
        yield models
        epochs = CounterMetricFamily("libmpc_party_epochs", "Epochs begun since the start.")
        epochs.add_metric([], node.peers.epochs)
        yield epochs
        pool = GaugeMetricFamily(
            "libmpc_party_pool_bundles", "Bundles ready to be spent.", labels=["model", "batch"]
        )
        for (model, rung), level in node.pool_levels.items():
            entry = node.catalog.entries.get(model)
            pool.add_metric([entry.record.name if entry else "", str(rung)], level)
        yield pool
        streams = GaugeMetricFamily("libmpc_party_streams", "Streamed bundles under way.")
        streams.add_metric([], node.streams)
        yield streams
        messages = CounterMetricFamily(
            "libmpc_party_link_messages",
            "Messages on the links that are up now.",
            labels=["peer", "direction"],
        )
        size = CounterMetricFamily(
            "libmpc_party_link_payload_bytes",
            "Payload bytes on the links that are up now.",
            labels=["peer", "direction"],
        )
        for peer, link in node.peers.links.items():
            for direction, traffic in (("sent", link.sent), ("received", link.received)):
                messages.add_metric([str(peer), direction], traffic.messages)
                size.add_metric([str(peer), direction], traffic.payload_bytes)
        yield messages
        yield size


def make_registry(node: PartyNode) -> CollectorRegistry:
    """A registry of this node alone."""
    registry = CollectorRegistry()
    registry.register(PartyCollector(node))
    return registry

"""What a party counts, for Prometheus: no value depends on an input, an output or a weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry

from libmpc.link import GATEWAY
from libmpc.meters import Histogram
from libmpc.party.entry import Entry
from libmpc.party.meters import REASONS, KeyMeters
from libmpc.party.node import PartyNode
from libmpc.party.variants import model_of
from libmpc.runtime import prepared_sizes
from services.common.metrics import BY_STATUS, Family, Sample, make_registry
from services.party import families


class PartyReader:
    """Reads a node when it is scraped."""

    def __init__(self, node: PartyNode) -> None:
        self._node = node
        self._sizes: dict[tuple[str, int], int] = {}

    def __call__(self) -> Iterator[Sample]:
        node = self._node
        yield families.READY, [], 0 if node.condition.reason else 1
        yield families.MODELS, [], len(node.catalog.entries)
        yield families.ALARM, [], int(bool(node.alarm))
        yield families.DAMAGED, [], len(node.catalog.damaged)
        yield families.STORAGE_ERRORS, [], node.store.refusals + node.auditor.refusals
        yield families.KEY_AGE, [], node.key_age
        yield families.EPOCHS, [], node.peers.epochs
        for peer in sorted({0, 1, 2} - {node.index}):
            yield families.LINK_UP, [str(peer)], int(peer in node.peers.links)
        yield from self._mirror()
        yield families.GATEWAY_LINKS, [], len(node.door.gateways)
        yield from families.LINKS.read(
            node.traffic, lambda p: "gateway" if p == GATEWAY else str(p)
        )
        yield families.POOL_LIMIT, [], node.settings.role.max_pool_bytes
        yield families.STREAMS, [], node.role.streams
        yield from self._work()
        yield from self._pool()
        yield from self._by_model()

    def _mirror(self) -> Iterable[Sample]:
        if (replica := self._node.siblings.replica) is None:
            yield families.REPLICAS, [], len(self._node.siblings.primary.links)
            return
        yield families.PRIMARY_UP, [], int(replica.linked)
        yield families.CAUGHT_UP, [], 0 if replica.reason else 1
        yield families.BEHIND, [], replica.behind

    def _work(self) -> Iterable[Sample]:
        meters = self._node.meters
        queries = dict.fromkeys(families.OUTCOMES, 0)
        for status, count in meters.queries.items():
            queries[BY_STATUS.get(status, "rejected")] += count
        for outcome, count in queries.items():
            yield families.QUERIES, [outcome], count
        for reason in REASONS:
            yield families.FAILURES, [reason], meters.failures[reason]
        phases: tuple[tuple[Family, dict[str, Histogram]], ...] = (
            (
                families.QUERY_PHASE,
                {
                    "opening": meters.opening,
                    "waiting": meters.waiting,
                    "counting": meters.counting,
                    "sealing": meters.sealing,
                },
            ),
            (families.RUN_PHASE, {"bundle": meters.taking, "evaluation": meters.evaluating}),
            (families.BUNDLE_PHASE, {"dealing": meters.dealing, "preparing": meters.preparing}),
        )
        for family, by_phase in phases:
            for phase, histogram in by_phase.items():
                yield family, [phase], histogram
        yield families.ROUND, [], meters.rounds
        yield families.RUN_QUERIES, [], meters.run_queries
        yield families.RUN_IMAGES, [], meters.run_images

    def _pool(self) -> Iterable[Sample]:
        find, levels = self._node.catalog.find, self._node.role.levels
        ready: Counter[tuple[str, int]] = Counter()
        size = 0
        # An empty pool shows as 0, and not as nothing; the dealer has none.
        used = self._node.meters.keys if self._node.index != 2 else ()
        # By name, whatever is answered: no more series than there are stored models.
        for variant, rung in {*levels, *used}:
            if (entry := find(variant)) is not None:
                count = levels.get((variant, rung), 0)
                ready[entry.record.name, rung] += count
                size += count * self._bundle_bytes(entry, rung)
        for (name, rung), count in ready.items():
            yield families.POOL_BUNDLES, [name, str(rung)], count
        yield families.POOL_BYTES, [], size
        wanted: Counter[tuple[str, int]] = Counter()
        for (variant, rung), target in self._node.role.targets.items():
            if (entry := find(variant)) is not None:
                wanted[entry.record.name, rung] += target
        for (name, rung), count in wanted.items():
            yield families.POOL_TARGET, [name, str(rung)], count

    def _bundle_bytes(self, entry: Entry, rung: int) -> int:
        key = (entry.variant, rung)
        if key not in self._sizes:
            stored = self._node.catalog.entries
            self._sizes = {k: v for k, v in self._sizes.items() if model_of(k[0]) in stored}
            self._sizes[key] = sum(prepared_sizes(entry.plan, rung).values())
        return self._sizes[key]

    def _by_model(self) -> Iterable[Sample]:
        # By name: no more series than there are stored models, and no digest in a label.
        entries = self._node.catalog.entries
        found: dict[tuple[str, int], KeyMeters] = {}
        for (model, rung), counts in self._node.meters.keys.items():
            if model in entries:
                found.setdefault((entries[model].record.name, rung), KeyMeters()).add(counts)
        for (name, rung), counts in found.items():
            key = [name, str(rung)]
            yield families.RUNS, [*key, "finished"], counts.runs
            yield families.RUNS, [*key, "aborted"], counts.aborted
            yield families.ROWS, [*key, "input"], counts.images
            yield families.ROWS, [*key, "padding"], counts.runs * rung - counts.images
            yield families.DEALT, key, counts.dealt
            yield families.PREPARED, key, counts.prepared
            yield families.USED, key, counts.used
            yield families.DROPPED, key, counts.dropped
            yield families.POOL_WAITS, key, counts.waits
            passed = counts.audited - counts.audits_failed
            yield families.AUDITS, [*key, "passed"], passed
            yield families.AUDITS, [*key, "failed"], counts.audits_failed


def party_registry(node: PartyNode) -> CollectorRegistry:
    """A registry of this node and its process."""
    return make_registry(f"party{node.index}", families.FAMILIES, PartyReader(node))

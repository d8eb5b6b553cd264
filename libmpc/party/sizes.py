"""What a run of a model takes: memory for its bundle, the batch sizes that fit, time for a round.

A bundle that is too large for the pool is *streamed*: dealt, prepared and spent step by step while
its run goes on, so that nobody holds it whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from libmpc.graph.plan import Plan
from libmpc.party.catalog import Catalog
from libmpc.party.entry import Entry
from libmpc.party.groups import largest_group
from libmpc.party.pool import PoolKey
from libmpc.party.variants import model_of
from libmpc.runtime import correction_sizes, prepared_sizes, step_costs
from libmpc.runtime.ladder import LADDER, run_rows

# What a slow party needs, with other work beside: a frozen one is noticed by its silence already.
_SECONDS_PER_MAC = 1e-8
_SECONDS_PER_VALUE = 1e-6
_SECONDS_PER_BYTE = 2.5e-7


class Sizes:
    """Answers by model and batch size, computed once each.

    Args:
        stream_bytes: a bundle that takes more memory is streamed.
        window: bytes of a streamed bundle that may wait; a batch of which one step takes more is
            cut into smaller ones.
    """

    def __init__(self, stream_bytes: int, window: int) -> None:
        self._stream_bytes = stream_bytes
        self._window = window
        self._bytes: dict[tuple[str, int], int] = {}
        self._groups: dict[tuple[str, int], int] = {}
        self._ladders: dict[str, tuple[int, ...]] = {}
        self._rounds: dict[tuple[str, int], tuple[float, ...]] = {}
        self._run_rows: dict[str, float] = {}

    def bundle_bytes(self, entry: Entry, rung: int) -> int:
        """Memory of a prepared bundle."""
        key = (entry.variant, rung)
        if key not in self._bytes:
            self._bytes[key] = sum(prepared_sizes(entry.plan, rung).values())
        return self._bytes[key]

    def group(self, entry: Entry, rung: int) -> int:
        """How many bundles are dealt together at most."""
        key = (entry.variant, rung)
        if key not in self._groups:
            self._groups[key] = largest_group(sum(correction_sizes(entry.plan, rung).values()))
        return self._groups[key]

    def streamed(self, entry: Entry, rung: int) -> bool:
        """Whether such a bundle is too large to be kept ready."""
        return self.bundle_bytes(entry, rung) > self._stream_bytes

    def ladder(self, entry: Entry) -> tuple[int, ...]:
        """The batch sizes that this model is run at; always 1."""
        model = entry.variant
        if model not in self._ladders:
            largest = max(prepared_sizes(entry.plan, 1).values())
            fitting = (
                rung
                for rung in LADDER
                if rung == 1 or not self.streamed(entry, rung) or rung * largest <= self._window
            )
            self._ladders[model] = tuple(fitting)
        return self._ladders[model]

    def run_rows(self, entry: Entry) -> float:
        """How many rows more in a run cost as much as one run more."""
        model = entry.variant
        if model not in self._run_rows:
            self._run_rows[model] = run_rows(entry.plan)
        return self._run_rows[model]

    def round_seconds(self, entry: Entry, rung: int) -> tuple[float, ...]:
        """By step: seconds that the peer may need for its work before it sends a round."""
        key = (entry.variant, rung)
        if key not in self._rounds:
            self._rounds[key] = tuple(round_seconds(entry.plan, rung))
        return self._rounds[key]

    def forget(self, models: Sequence[str]) -> None:
        """Keep nothing but what is known of ``models``."""
        self._bytes = {k: v for k, v in self._bytes.items() if model_of(k[0]) in models}
        self._groups = {k: v for k, v in self._groups.items() if model_of(k[0]) in models}
        self._ladders = {k: v for k, v in self._ladders.items() if model_of(k) in models}
        self._rounds = {k: v for k, v in self._rounds.items() if model_of(k[0]) in models}
        self._run_rows = {k: v for k, v in self._run_rows.items() if model_of(k) in models}


def round_seconds(plan: Plan, batch: int) -> list[float]:
    """By step: the work since the last step in which the evaluators spoke, its own included."""
    found: list[float] = []
    since = 0.0
    for index, cost in step_costs(plan, batch).items():
        step = plan.steps[index]
        macs = plan.linear_steps[index].macs if index in plan.linear_steps else 0
        since += (
            batch * (macs * _SECONDS_PER_MAC + step.size * _SECONDS_PER_VALUE)
            + (cost.online_bytes + cost.correction_bytes) * _SECONDS_PER_BYTE
        )
        found.append(since)
        if cost.rounds:
            since = 0.0
    return found


class KeySizes:
    """The same for whoever knows a bundle's key only; of a model that is gone, next to nothing."""

    def __init__(self, catalog: Catalog, sizes: Sizes) -> None:
        self._catalog = catalog
        self._sizes = sizes

    def bundle_bytes(self, key: PoolKey) -> int:
        """As ``Sizes.bundle_bytes``."""
        entry = self._catalog.find(key[0])
        return self._sizes.bundle_bytes(entry, key[1]) if entry is not None else 0

    def group(self, key: PoolKey) -> int:
        """As ``Sizes.group``."""
        entry = self._catalog.find(key[0])
        return self._sizes.group(entry, key[1]) if entry is not None else 1

    def streamed(self, key: PoolKey) -> bool:
        """As ``Sizes.streamed``."""
        entry = self._catalog.find(key[0])
        return entry is not None and self._sizes.streamed(entry, key[1])

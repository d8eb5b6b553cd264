"""What a party counts of its work, from its start on, across epochs.

SECURITY: how often and how long, never of what: no value here follows from an input, an output, a
weight, a mask or a query's number.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from libmpc.errors import LibmpcError
from libmpc.link import LinkError
from libmpc.meters import COUNTS, Histogram
from libmpc.party.run import Part, RunAborted
from libmpc.party.variants import model_of
from libmpc.protocol import ProtocolError
from libmpc.wire.errors import WireError

Key = tuple[str, int]  # model digest in hex, batch size
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (RunAborted, "aborted"),
    (LinkError, "link"),
    (WireError, "protocol"),
    (ProtocolError, "protocol"),
    (LibmpcError, "unavailable"),
)
#: why a run or a bundle may come to nothing
REASONS = ("aborted", "link", "protocol", "unavailable", "no_bundle", "no_model", "internal")


@dataclass(slots=True)
class KeyMeters:
    """Of one model at one batch size.

    Attributes:
        runs: runs that came to their end.
        aborted: runs that ended early.
        images: rows that were asked for, of finished runs; the rest of a run is padding.
        dealt: bundles that the dealer has finished.
        prepared: bundles that an evaluator has made ready.
        used: bundles that a run has taken.
        waits: runs that found no bundle ready (party 0).
        dropped: bundles that were ready and nobody will use.
        audited: bundles that were audited instead of used.
        audits_failed: those of them that were not what an honest dealer sends.
    """

    runs: int = 0
    aborted: int = 0
    images: int = 0
    dealt: int = 0
    prepared: int = 0
    used: int = 0
    waits: int = 0
    dropped: int = 0
    audited: int = 0
    audits_failed: int = 0

    def add(self, other: KeyMeters) -> None:
        """Include other counters."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Meters:
    """One party's counters. Durations are in seconds.

    Attributes:
        queries: queries by the HTTP status of their answer.
        opening: opening one query's envelope.
        waiting: from there until the query's first run begins.
        counting: making one answer's count durable, where the model has a limit.
        sealing: sealing one answer.
        taking: how long a run waits for its bundle.
        evaluating: one run, from its first message to its result.
        rounds: one round, from sending to having the other evaluator's message.
        dealing: the corrections of one group of bundles at the dealer.
        preparing: one group of bundles at an evaluator.
        run_queries: queries of which a run computed rows.
        run_images: rows that were asked for in a run.
        failures: runs and bundles that came to nothing, by reason.
    """

    queries: Counter[int] = field(default_factory=Counter)
    opening: Histogram = field(default_factory=Histogram)
    waiting: Histogram = field(default_factory=Histogram)
    counting: Histogram = field(default_factory=Histogram)
    sealing: Histogram = field(default_factory=Histogram)
    taking: Histogram = field(default_factory=Histogram)
    evaluating: Histogram = field(default_factory=Histogram)
    rounds: Histogram = field(default_factory=Histogram)
    dealing: Histogram = field(default_factory=Histogram)
    preparing: Histogram = field(default_factory=Histogram)
    run_queries: Histogram = field(default_factory=lambda: Histogram(COUNTS))
    run_images: Histogram = field(default_factory=lambda: Histogram(COUNTS))
    failures: Counter[str] = field(default_factory=Counter)
    _keys: dict[Key, KeyMeters] = field(default_factory=dict)

    def of(self, key: Key) -> KeyMeters:
        """The counters of (model, batch size); a model's variants are counted together."""
        # Clients choose among variants: counted one by one, they would be many.
        key = (model_of(key[0]), key[1])
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = KeyMeters()
        return found

    @property
    def keys(self) -> dict[Key, KeyMeters]:
        """All that was counted, by (model, batch size)."""
        return self._keys

    @contextlib.contextmanager
    def run(self, key: Key, parts: Sequence[Part]) -> Iterator[None]:
        """Count the run that the block computes."""
        counts, began = self.of(key), perf_counter()
        for part in parts:
            if part.start == 0:
                self.waiting.observe(began - part.query.opened)
        try:
            yield
        except BaseException:
            counts.aborted += 1
            raise
        self.evaluating.since(began)
        counts.runs += 1
        images = sum(part.rows for part in parts)
        counts.images += images
        self.run_queries.observe(len(parts))
        self.run_images.observe(images)

    def dealt(self, key: Key, began: float, count: int = 1) -> None:
        """Count a group of bundles that the dealer has finished."""
        self.of(key).dealt += count
        self.dealing.since(began)

    def prepared(self, key: Key, began: float, count: int = 1) -> None:
        """Count a group of bundles that an evaluator has made ready."""
        self.of(key).prepared += count
        self.preparing.since(began)

    def taken(self, key: Key, asked: float) -> None:
        """Count a bundle that a run has taken."""
        self.of(key).used += 1
        self.taking.since(asked)

    def failed(self, error: BaseException) -> None:
        """Count a run or a bundle that came to nothing."""
        reason = getattr(error, "code", "") or next(
            (name for kind, name in _REASONS if isinstance(error, kind)), "internal"
        )
        self.failures[reason] += 1

    def forget(self, models: Collection[str]) -> None:
        """Keep only what was counted of ``models``: what is deleted must not pile up."""
        self._keys = {key: counts for key, counts in self._keys.items() if key[0] in models}

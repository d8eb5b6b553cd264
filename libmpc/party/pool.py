"""The evaluators' pool of bundles: correlated randomness that is ready to be spent once.

The rules of freshness that this file keeps (see docs/protocol.md):

* a bundle leaves the pool in one step, before the first message that depends on it, and nothing
  puts it back;
* numbers rise strictly within an epoch; one at or below the high-water mark is refused;
* a new epoch empties the pool.

Everything runs on the event loop's thread except ``prepare``, which is pure computation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from time import perf_counter

from libmpc.errors import UnavailableError
from libmpc.party.meters import Meters
from libmpc.runtime import PreparedBundle, StreamedBundle
from libmpc.wire.errors import WireError

PoolKey = tuple[str, int]  # model digest in hex, rung
Bundle = PreparedBundle | StreamedBundle


@dataclass
class Group:
    """Bundles on their way: numbered, but not ready yet. Those in ``dropped`` never will be."""

    key: PoolKey
    numbers: range
    dropped: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.numbers) - len(self.dropped)

    def __contains__(self, number: int) -> bool:
        return number in self.numbers and number not in self.dropped


class BundlePool:
    """Bundles of one epoch by number, from the announcement to the taking."""

    def __init__(self, executor: Executor, meters: Meters) -> None:
        self._executor = executor
        self._meters = meters
        self._change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clear()

    def _clear(self) -> None:
        self._high_water = 0
        self._pending: dict[int, Group] = {}  # by first number
        self._ready: dict[int, tuple[PoolKey, Bundle]] = {}
        self._levels: Counter[PoolKey] = Counter()

    def reset(self) -> None:
        """Drop everything: the epoch has ended."""
        for key, level in self._levels.items():
            self._meters.of(key).dropped += level
        # SECURITY: a bundle must not outlive its epoch; its keys are gone at the other parties.
        self._clear()
        self._notify()

    def drop(self, number: int) -> PoolKey | None:
        """Forget a bundle that will not be used; what it was for, if we had it."""
        if number in self._ready:
            return self._discard(number)
        for first, group in self._pending.items():
            if number in group:
                group.dropped.add(number)
                if not group:
                    del self._pending[first]
                return group.key
        return None

    def drop_model(self, model: str) -> None:
        """Drop the ready bundles of a model that has been stopped, replaced or deleted."""
        for number in [n for n, (key, _) in self._ready.items() if key[0] == model]:
            self._discard(number)

    def announce(self, numbers: range, key: PoolKey) -> None:
        """Begin bundles that will be prepared together.

        Raises:
            WireError: the numbers do not rise.
        """
        self.reserve(numbers)
        self._pending[numbers[0]] = Group(key, numbers)

    def reserve(self, numbers: range) -> None:
        """Use up numbers, for bundles that never come here.

        Raises:
            WireError: the numbers do not rise.
        """
        # SECURITY: a number that was seen before could make a used bundle come back.
        if numbers[0] <= self._high_water:
            raise WireError("bundle numbers must rise")
        self._high_water = numbers[-1]

    def hold(self, number: int, key: PoolKey, bundle: StreamedBundle) -> None:
        """Party 1: keep a streamed bundle until the run takes it for which it was dealt.

        Raises:
            WireError: the number does not rise.
        """
        self.reserve(range(number, number + 1))
        self._add(number, key, bundle)
        self._notify()

    def expected(self, first: int) -> Group | None:
        """The announced bundles from this number on, while they are not ready."""
        return self._pending.get(first)

    async def prepare(
        self, first: int, compute: Callable[[], Sequence[PreparedBundle | None]]
    ) -> None:
        """Run ``compute`` in a thread and make the bundles of a group available.

        ``None`` stands for one that has been dropped.

        Raises:
            Exception: what ``compute`` raises; the bundles will not be had.
        """
        group = self._pending.get(first)
        if group is None:
            return
        loop, began = asyncio.get_running_loop(), perf_counter()
        try:
            bundles = await loop.run_in_executor(self._executor, compute)
        except BaseException:
            if self._pending.get(first) is group:
                del self._pending[first]
            raise
        # The epoch may have ended meanwhile; then these bundles are nobody's any more.
        if self._pending.get(first) is group:
            del self._pending[first]
            for number, bundle in zip(group.numbers, bundles, strict=True):
                if number in group and bundle is not None:
                    self._add(number, group.key, bundle)
            self._meters.prepared(group.key, began, len(bundles))
            self._notify()

    def level(self, key: PoolKey) -> int:
        """Bundles of ``key`` that are ready."""
        return self._levels[key]

    def coming(self, key: PoolKey) -> int:
        """Bundles of ``key`` announced and not ready."""
        return sum(len(group) for group in self._pending.values() if group.key == key)

    @property
    def groups(self) -> int:
        """Groups announced and not ready."""
        return len(self._pending)

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        """Ready bundles by model and rung."""
        return +self._levels

    @property
    def held(self) -> Mapping[PoolKey, int]:
        """Bundles that are ready or announced, by model and rung."""
        found = Counter(self._levels)
        for group in self._pending.values():
            found[group.key] += len(group)
        return found

    def oldest(self, key: PoolKey) -> int | None:
        """The ready bundle of ``key`` with the lowest number."""
        if not self._levels[key]:
            return None
        return min(number for number, (found, _) in self._ready.items() if found == key)

    async def take(self, key: PoolKey, timeout: float) -> tuple[int, Bundle]:
        """Party 0: take the oldest ready bundle of ``key``, waiting up to ``timeout`` seconds.

        Raises:
            UnavailableError: none came in time.
        """
        if not self._levels[key]:
            self._meters.of(key).waits += 1
        return await self._take(lambda: self.oldest(key), timeout)

    async def take_named(self, number: int, key: PoolKey, timeout: float) -> Bundle:
        """Party 1: take the bundle that party 0 chose, waiting for its corrections.

        Raises:
            WireError: it is for something else, or was taken or dropped before.
            UnavailableError: it was not ready in time.
        """

        def named() -> int | None:
            if number in self._ready:
                if self._ready[number][0] != key:
                    raise WireError("the bundle is for something else")
                return number
            coming = any(number in group for group in self._pending.values())
            if number <= self._high_water and not coming:
                raise WireError("no such bundle")
            return None

        return (await self._take(named, timeout))[1]

    async def _take(self, choose: Callable[[], int | None], timeout: float) -> tuple[int, Bundle]:
        began = perf_counter()
        if (number := choose()) is None:
            try:
                async with asyncio.timeout(timeout):
                    while (number := choose()) is None:
                        await asyncio.shield(self._change)
            except TimeoutError:
                raise UnavailableError(
                    "no correlated randomness in time", status=503, code="no_bundle"
                ) from None
        # SECURITY: chosen and removed without a suspension in between, before anything that
        # depends on the bundle is sent. Whatever happens after, it is gone.
        key, bundle = self._remove(number)
        self._meters.taken(key, began)
        return number, bundle

    def _add(self, number: int, key: PoolKey, bundle: Bundle) -> None:
        self._ready[number] = (key, bundle)
        self._levels[key] += 1

    def _remove(self, number: int) -> tuple[PoolKey, Bundle]:
        found = self._ready.pop(number)
        self._levels[found[0]] -= 1
        return found

    def _discard(self, number: int) -> PoolKey:
        key, _ = self._remove(number)
        self._meters.of(key).dropped += 1
        return key

    def _notify(self) -> None:
        self._change.set_result(None)
        self._change = asyncio.get_running_loop().create_future()

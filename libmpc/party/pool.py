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
class _Slot:
    """A bundle on its way: numbered, but not ready yet."""

    key: PoolKey
    expected: dict[int, int] = field(default_factory=dict)  # correction bytes by step
    received: dict[int, bytes] = field(default_factory=dict, repr=False)


class BundlePool:
    """Bundles of one epoch by number, from the announcement to the taking."""

    def __init__(self, executor: Executor, meters: Meters) -> None:
        self._executor = executor
        self._meters = meters
        self._change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clear()

    def _clear(self) -> None:
        self._high_water = 0
        self._pending: dict[int, _Slot] = {}
        self._ready: dict[int, tuple[PoolKey, Bundle]] = {}

    def reset(self) -> None:
        """Drop everything: the epoch has ended."""
        self._count_dropped(list(self._ready.values()))
        # SECURITY: a bundle must not outlive its epoch; its keys are gone at the other parties.
        self._clear()
        self._notify()

    def drop(self, number: int) -> PoolKey | None:
        """Forget a bundle that another party does not have; what it was for, if we had it."""
        slot = self._pending.pop(number, None)
        ready = self._ready.pop(number, None)
        self._count_dropped([ready] if ready is not None else [])
        if slot is not None:
            return slot.key
        return ready[0] if ready is not None else None

    def drop_model(self, model: str) -> None:
        """Drop the ready bundles of a model that has been stopped, replaced or deleted."""
        for number in [n for n, (key, _) in self._ready.items() if key[0] == model]:
            self._count_dropped([self._ready.pop(number)])

    def announce(self, number: int, key: PoolKey, expected: Mapping[int, int]) -> None:
        """Begin a bundle that needs the corrections ``expected`` (bytes by step), if any.

        Raises:
            WireError: the number does not rise.
        """
        self.reserve(number)
        self._pending[number] = _Slot(key, dict(expected))

    def reserve(self, number: int) -> None:
        """Use up a number, for a bundle that never comes here.

        Raises:
            WireError: the number does not rise.
        """
        # SECURITY: a number that was seen before could make a used bundle come back.
        if number <= self._high_water:
            raise WireError("bundle numbers must rise")
        self._high_water = number

    def hold(self, number: int, key: PoolKey, bundle: StreamedBundle) -> None:
        """Party 1: keep a streamed bundle until the run takes it for which it was dealt.

        Raises:
            WireError: the number does not rise.
        """
        self.reserve(number)
        self._ready[number] = (key, bundle)
        self._notify()

    def expected(self, number: int) -> PoolKey | None:
        """What an announced bundle is for, while it is not ready."""
        slot = self._pending.get(number)
        return slot.key if slot is not None else None

    def correct(self, number: int, step: int, payload: bytes | bytearray | memoryview) -> bool:
        """Take one step's corrections; true when the bundle has all of them.

        Raises:
            WireError: not a correction that this bundle waits for.
        """
        slot = self._pending.get(number)
        if slot is None or step in slot.received or slot.expected.get(step) != len(payload):
            raise WireError("an unexpected correction")
        slot.received[step] = bytes(payload)
        return len(slot.received) == len(slot.expected)

    async def prepare(
        self, number: int, compute: Callable[[Mapping[int, bytes]], PreparedBundle]
    ) -> None:
        """Run ``compute`` on the corrections in a thread and make the bundle available."""
        slot = self._pending.get(number)
        if slot is None:
            return
        loop, began = asyncio.get_running_loop(), perf_counter()
        bundle = await loop.run_in_executor(self._executor, compute, slot.received)
        # The epoch may have ended meanwhile; then this bundle is nobody's any more.
        if self._pending.get(number) is slot:
            del self._pending[number]
            self._ready[number] = (slot.key, bundle)
            self._meters.prepared(slot.key, began)
            self._notify()

    def level(self, key: PoolKey) -> int:
        """Bundles of ``key`` that are ready."""
        return sum(1 for k, _ in self._ready.values() if k == key)

    def coming(self, key: PoolKey) -> int:
        """Bundles of ``key`` announced and not ready."""
        return sum(1 for slot in self._pending.values() if slot.key == key)

    @property
    def coming_total(self) -> int:
        return len(self._pending)

    @property
    def on_the_way(self) -> dict[PoolKey, int]:
        """Announced bundles by model and rung."""
        found: dict[PoolKey, int] = {}
        for slot in self._pending.values():
            found[slot.key] = found.get(slot.key, 0) + 1
        return found

    @property
    def levels(self) -> dict[PoolKey, int]:
        """Ready bundles by model and rung."""
        found: dict[PoolKey, int] = {}
        for key, _ in self._ready.values():
            found[key] = found.get(key, 0) + 1
        return found

    async def take(self, key: PoolKey, timeout: float) -> tuple[int, Bundle]:
        """Party 0: take the oldest ready bundle of ``key``, waiting up to ``timeout`` seconds.

        Raises:
            UnavailableError: none came in time.
        """

        def oldest() -> int | None:
            return min((n for n, (k, _) in self._ready.items() if k == key), default=None)

        return await self._take(oldest, timeout)

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
            if number <= self._high_water and number not in self._pending:
                raise WireError("no such bundle")
            return None

        return (await self._take(named, timeout))[1]

    async def _take(self, choose: Callable[[], int | None], timeout: float) -> tuple[int, Bundle]:
        began = perf_counter()
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
        key, bundle = self._ready.pop(number)
        self._meters.taken(key, began)
        return number, bundle

    def _count_dropped(self, bundles: Sequence[tuple[PoolKey, Bundle]]) -> None:
        for key, _ in bundles:
            self._meters.of(key).dropped += 1

    def _notify(self) -> None:
        self._change.set_result(None)
        self._change = asyncio.get_running_loop().create_future()

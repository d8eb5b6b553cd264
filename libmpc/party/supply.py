"""Party 0's side of the pool: asks the dealer for bundles before they are needed, within bounds.

What a query waits for is asked for at once. Besides, bundles are kept ready for what has been asked
for before, the latest first; a model or batch size that nobody has asked for has next to none.
Where half of them or more are there, the rest is asked for in a gap between runs, and several at a
time, so that it costs the queries under way little.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from libmpc.party.messages import Deal
from libmpc.party.pool import Bundle, BundlePool, PoolKey

#: groups on their way, beyond which nothing is asked for that no query waits for
MAX_BACKGROUND = 2
#: bundles by batch size, of what nobody has asked for yet
UNUSED = {1: 2}
#: of all the memory, for one model and batch size, if one bundle does not need more
LARGEST_PART = 0.5
#: what has not been taken for so many takes of others makes room for them
FORGOTTEN = 64


class Supply:
    """Keeps a few bundles of the models and rungs in use ready.

    Args:
        pool: where they arrive.
        request: sends the dealer a request.
        dropped: tells party 1 of a bundle that has left the pool unused.
        served: the models to keep bundles for.
        targets: how many bundles to hold, by rung.
        bundle_bytes: memory that one bundle of (model, rung) takes.
        group: how many bundles of (model, rung) are dealt together at most.
        streamed: whether it is too large to be kept ready.
        busy: whether a run is under way.
        max_bytes: memory for all, those that are being spent included; a query that waits gets at
            least one bundle at a time.
    """

    def __init__(
        self,
        *,
        pool: BundlePool,
        request: Callable[[Deal], None],
        dropped: Callable[[int], None],
        served: Callable[[], Iterable[str]],
        targets: Mapping[int, int],
        bundle_bytes: Callable[[PoolKey], int],
        group: Callable[[PoolKey], int],
        streamed: Callable[[PoolKey], bool],
        busy: Callable[[], bool],
        max_bytes: int,
    ) -> None:
        self._pool = pool
        self._request = request
        self._dropped = dropped
        self._served = served
        self._targets = targets
        self._bundle_bytes = bundle_bytes
        self._group = group
        self._streamed = streamed
        self._busy = busy
        self._max_bytes = max_bytes
        self._waiting: Counter[PoolKey] = Counter()
        self._spending: Counter[PoolKey] = Counter()
        self._last_take: dict[PoolKey, int] = {}
        self._takes = 0
        self._due = False
        self._number = 1

    def stream(self, key: PoolKey) -> int:
        """Have a streamed bundle begun for a run of (model, rung); its number."""
        numbers = self._new(1)
        self._pool.reserve(numbers)
        self._request(Deal(bundle=numbers[0], count=1, model=key[0], rung=key[1], streamed=True))
        return numbers[0]

    async def take(self, key: PoolKey, timeout: float) -> tuple[int, Bundle]:
        """A bundle for (model, rung): from the pool, or dealt now. It counts until ``spent``.

        Raises:
            UnavailableError: none came within ``timeout`` seconds.
        """
        self._takes += 1
        self._last_take[key] = self._takes
        self._waiting[key] += 1
        if not self._pool.level(key):
            self.top_up()
        try:
            taken = await self._pool.take(key, timeout)
            self._spending[key] += 1
            return taken
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
            self._top_up_soon()

    @property
    def targets(self) -> dict[PoolKey, int]:
        """How many bundles are to be kept ready, of what is kept ready."""
        return {key: self._target(key) for key in self._keys()}

    def spent(self, key: PoolKey) -> None:
        """The run has ended that took a bundle."""
        self._spending[key] -= 1
        if not self._spending[key]:
            del self._spending[key]
        self._top_up_soon()

    def _top_up_soon(self) -> None:
        """Once the run has sent its message, or let its answer go, for which somebody waits."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.top_up)

    def top_up(self) -> None:
        """Ask for what is missing; call whenever something has changed."""
        self._due = False
        held = self._pool.held
        in_memory = Counter(held) + self._spending
        room = self._max_bytes - sum(self._bundle_bytes(key) * n for key, n in in_memory.items())
        for key, waiting in self._waiting.items():
            room -= self._ask(key, waiting - held.get(key, 0), room, urgent=True)
        for key in self._keys():
            if self._pool.groups >= MAX_BACKGROUND:
                return
            wanted = self._waiting[key] + self._target(key)
            missing = wanted - self._pool.level(key) - self._pool.coming(key)
            if missing > wanted // 2:
                room += self._make_room(key, room)
            elif self._busy() or missing < min(self._group(key), max(1, wanted // 4)):
                continue
            room -= self._ask(key, missing, room)

    def _keys(self) -> list[PoolKey]:
        """What bundles are kept for, the latest used first."""
        keys = [
            key
            for key in itertools.product(self._served(), self._targets)
            if (key in self._last_take or key[1] in UNUSED) and not self._streamed(key)
        ]
        keys.sort(key=lambda key: self._last_take.get(key, 0), reverse=True)
        return keys

    def _target(self, key: PoolKey) -> int:
        if key not in self._last_take:
            return UNUSED[key[1]]
        fitting = int(LARGEST_PART * self._max_bytes) // max(1, self._bundle_bytes(key))
        return max(1, min(self._targets[key[1]], fitting))

    def _ask(self, key: PoolKey, missing: int, room: int, *, urgent: bool = False) -> int:
        """Ask for bundles, as many as there is room for; the memory that they will take."""
        size = self._bundle_bytes(key)
        asked = 0
        while missing > asked and (urgent or self._pool.groups < MAX_BACKGROUND):
            fitting = max(0, room - asked * size) // max(1, size)
            if not (fitting or self._spending[key] or self._pool.coming(key)) and urgent:
                fitting = 1  # who waits gets one, whatever else is held
            count = min(missing - asked, self._group(key), fitting)
            if count < 1:
                break
            numbers = self._new(count)
            # Party 0's half needs no corrections: it can be computed from its stream alone.
            self._pool.announce(numbers, key)
            self._request(
                Deal(bundle=numbers[0], count=count, model=key[0], rung=key[1], streamed=False)
            )
            asked += count
        return asked * size

    def _make_room(self, key: PoolKey, room: int) -> int:
        """Drop what has not been used for long, for what has little left; the memory freed."""
        freed = 0
        last = self._last_take.get(key, 0)
        others = sorted(self._pool.levels, key=lambda other: self._last_take.get(other, 0))
        for other in others:
            if self._last_take.get(other, 0) + FORGOTTEN > last:
                break
            while (
                room + freed < self._bundle_bytes(key)
                and (number := self._pool.oldest(other)) is not None
            ):
                # SECURITY: gone here first, so that no run can name it any more.
                self._pool.drop(number)
                self._dropped(number)
                freed += self._bundle_bytes(other)
        return freed

    def _new(self, count: int) -> range:
        numbers = range(self._number, self._number + count)
        self._number += count
        return numbers

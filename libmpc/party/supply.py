"""Party 0's side of the pool: asks the dealer for bundles before they are needed, within bounds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from libmpc.party.messages import Deal
from libmpc.party.pool import Bundle, BundlePool, PoolKey

#: background requests under way at most, so that one that a query waits for is dealt soon
MAX_BACKGROUND = 2


class Supply:
    """Keeps a few bundles of every served model and rung ready.

    Args:
        pool: where they arrive.
        request: sends the dealer a request.
        served: the models to keep bundles for.
        targets: how many bundles to hold, by rung.
        bundle_bytes: memory that one bundle of (model, rung) takes.
        streamed: whether it is too large to be kept ready.
        max_bytes: memory for all; a query that waits gets at least one bundle at a time.
    """

    def __init__(
        self,
        *,
        pool: BundlePool,
        request: Callable[[Deal], None],
        served: Callable[[], Iterable[str]],
        targets: Mapping[int, int],
        bundle_bytes: Callable[[PoolKey], int],
        streamed: Callable[[PoolKey], bool],
        max_bytes: int,
    ) -> None:
        self._pool = pool
        self._request = request
        self._served = served
        self._targets = targets
        self._bundle_bytes = bundle_bytes
        self._streamed = streamed
        self._max_bytes = max_bytes
        self._waiting: Counter[PoolKey] = Counter()
        self._numbers = itertools.count(1)

    def stream(self, key: PoolKey) -> int:
        """Have a streamed bundle begun for a run of (model, rung); its number."""
        number = next(self._numbers)
        self._pool.reserve(number)
        self._request(Deal(bundle=number, model=key[0], rung=key[1], streamed=True))
        return number

    async def take(self, key: PoolKey, timeout: float) -> tuple[int, Bundle]:
        """A bundle for (model, rung): from the pool, or dealt now.

        Raises:
            UnavailableError: none came within ``timeout`` seconds.
        """
        self._waiting[key] += 1
        self.top_up()
        try:
            return await self._pool.take(key, timeout)
        finally:
            self._waiting[key] -= 1
            self.top_up()

    def top_up(self) -> None:
        """Ask for what is missing; call whenever something has changed."""
        used = sum(self._bundle_bytes(key) * n for key, n in self._held().items())
        for key, waiting in self._waiting.items():
            while self._missing(key, waiting) > 0:
                size = self._bundle_bytes(key)
                if used + size > self._max_bytes and self._pool.coming(key):
                    break
                self._ask(key)
                used += size
        for key in ((model, rung) for model in self._served() for rung in self._targets):
            if self._streamed(key):
                continue
            while self._missing(key, self._waiting[key] + self._targets[key[1]]) > 0:
                size = self._bundle_bytes(key)
                if self._pool.coming_total >= MAX_BACKGROUND or used + size > self._max_bytes:
                    break
                self._ask(key)
                used += size

    def _missing(self, key: PoolKey, wanted: int) -> int:
        return wanted - self._pool.level(key) - self._pool.coming(key)

    def _held(self) -> Counter[PoolKey]:
        return Counter(self._pool.levels) + Counter(self._pool.on_the_way)

    def _ask(self, key: PoolKey) -> None:
        number = next(self._numbers)
        # Party 0's half needs no corrections: it can be computed from its stream alone.
        self._pool.announce(number, key, {})
        self._request(Deal(bundle=number, model=key[0], rung=key[1], streamed=False))

"""What party 0 asks the dealer for, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from libmpc.party.messages import Deal
from libmpc.party.meters import Meters
from libmpc.party.pool import BundlePool, PoolKey
from libmpc.party.supply import FORGOTTEN, MAX_BACKGROUND, UNUSED, Supply
from libmpc.runtime import PreparedBundle
from tests.party.test_queries import PLAN

A, B = "ab" * 32, "cd" * 32
SIZE = 100


class Rig:
    """A supply, and what it asked for."""

    def __init__(self, pool: BundlePool, **changes: Any) -> None:
        self.pool = pool
        self.asked: list[Deal] = []
        self.dropped: list[int] = []
        self.busy = False
        settings = {"served": lambda: [A], "targets": {1: 8, 8: 2}, "max_bytes": 10**6}
        self.supply = Supply(
            pool=pool,
            request=self.asked.append,
            dropped=self.dropped.append,
            bundle_bytes=lambda key: key[1] * SIZE,
            group=lambda key: 4 if key[1] == 1 else 1,
            streamed=lambda _: False,
            busy=lambda: self.busy,
            **{**settings, **changes},
        )

    def news(self) -> list[tuple[str, int, int]]:
        """Model, rung and count of what has been asked for since."""
        found = [(deal.model, deal.rung, deal.count) for deal in self.asked]
        self.asked.clear()
        return found

    async def arrive(self) -> None:
        """Everything that is on its way comes."""
        while self.pool._pending:
            first, group = next(iter(self.pool._pending.items()))
            made = [PreparedBundle(0, group.key[1], PLAN, {}) for _ in group.numbers]
            await self.pool.prepare(first, made.copy)
            self.supply.top_up()

    async def use(self, key: PoolKey, often: int = 1) -> None:
        for _ in range(often):
            taking = asyncio.ensure_future(self.supply.take(key, 5))
            await asyncio.sleep(0)
            if not taking.done():
                await self.arrive()
            await taking
            self.supply.spent(key)
            await asyncio.sleep(0)  # it asks in the loop's next turn


def with_rig(check: Callable[[Rig], Awaitable[None]], **changes: Any) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            await check(Rig(BundlePool(executor, Meters()), **changes))

    asyncio.run(main())


def test_what_nobody_has_asked_for_has_next_to_none() -> None:
    async def check(rig: Rig) -> None:
        rig.supply.top_up()
        await rig.arrive()
        assert dict(rig.pool.levels) == {(A, 1): UNUSED[1], (B, 1): UNUSED[1]}
        await rig.use((A, 8))
        await rig.arrive()
        assert dict(rig.pool.levels) == {(A, 8): 2, (A, 1): UNUSED[1], (B, 1): UNUSED[1]}

    with_rig(check, served=lambda: [A, B])


def test_numbers_rise_and_groups_are_whole() -> None:
    async def check(rig: Rig) -> None:
        await rig.use((A, 1), 20)
        await rig.arrive()
        last = 0
        for deal in rig.asked:
            assert deal.bundle == last + 1
            assert 1 <= deal.count <= 4
            last = deal.bundle + deal.count - 1
        assert rig.pool.level((A, 1)) in (7, 8)  # one alone is not asked for
        assert max(deal.count for deal in rig.asked) == 4

    with_rig(check)


def test_the_upper_half_is_filled_in_a_gap_between_runs() -> None:
    async def check(rig: Rig) -> None:
        await rig.use((A, 1))
        await rig.arrive()
        rig.news()
        rig.busy = True
        await rig.use((A, 1), 4)
        assert rig.news() == []
        rig.busy = False
        rig.supply.top_up()
        assert rig.news() == [(A, 1, 4)]
        await rig.arrive()
        rig.busy = True
        await rig.use((A, 1), 4)
        assert rig.news() == []
        await rig.use((A, 1))
        assert sum(count for _, _, count in rig.news()) == 5  # fewer than half are left

    with_rig(check)


def test_who_waits_is_served_at_once_and_before_the_rest() -> None:
    async def check(rig: Rig) -> None:
        rig.supply.top_up()
        rig.busy = True
        waiting = [asyncio.ensure_future(rig.supply.take((A, 8), 5)) for _ in range(3)]
        await asyncio.sleep(0)
        assert rig.pool.coming((A, 8)) == 3
        await rig.arrive()
        assert [number for number, _ in await asyncio.gather(*waiting)] == sorted(
            deal.bundle for deal in rig.asked if deal.rung == 8
        )[:3]

    with_rig(check)


def test_nothing_in_the_background_beyond_a_few_groups() -> None:
    async def check(rig: Rig) -> None:
        await rig.use((A, 1))
        rig.supply.top_up()
        assert rig.pool.groups <= MAX_BACKGROUND

    with_rig(check, targets={1: 64})


def test_memory_is_bounded_and_who_waits_gets_one_all_the_same() -> None:
    async def check(rig: Rig) -> None:
        await rig.use((A, 1))
        await rig.arrive()
        assert rig.pool.level((A, 1)) == 4  # half of the memory for one model and batch size
        await rig.use((A, 8), 3)  # 800 bytes each
        await rig.arrive()
        held = sum(key[1] * SIZE * n for key, n in rig.pool.held.items())
        assert held <= 900

    with_rig(check, max_bytes=900)


def test_bundles_that_are_being_spent_take_memory_too() -> None:
    async def check(rig: Rig) -> None:
        first = asyncio.ensure_future(rig.supply.take((A, 8), 5))
        await asyncio.sleep(0)
        await rig.arrive()
        await first
        second = asyncio.ensure_future(rig.supply.take((A, 8), 5))
        await asyncio.sleep(0)
        assert rig.pool.coming((A, 8)) == 0  # two of 800 bytes are too many
        rig.supply.spent((A, 8))
        await asyncio.sleep(0)
        assert rig.pool.coming((A, 8)) == 1
        await rig.arrive()
        await second

    with_rig(check, max_bytes=1500, targets={1: 1, 8: 1})


def test_what_was_forgotten_makes_room() -> None:
    async def check(rig: Rig) -> None:
        await rig.use((A, 1))
        await rig.arrive()
        assert rig.pool.level((A, 1)) == 4
        await rig.use((B, 8))
        await rig.arrive()
        assert not rig.dropped
        await rig.use((B, 8), FORGOTTEN)
        await rig.arrive()
        assert rig.pool.level((B, 8)) == 1
        assert rig.dropped
        for number in rig.dropped:
            assert rig.pool.drop(number) is None
        assert rig.pool.held[(A, 1)] == 0

    with_rig(check, served=lambda: [A, B], max_bytes=850)

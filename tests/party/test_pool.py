"""Bundles are taken once, in one step, and never come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from libmpc.errors import UnavailableError
from libmpc.party.meters import Meters
from libmpc.party.pool import BundlePool
from libmpc.party.supply import Supply
from libmpc.prg import MaskReuseError
from libmpc.runtime import PreparedBundle
from libmpc.wire.errors import WireError
from tests.party.test_queries import PLAN

KEY = ("ab" * 32, 1)


def bundle() -> PreparedBundle:
    return PreparedBundle(0, 1, PLAN, {})


def with_pool(check: Callable[[BundlePool], Awaitable[None]]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            await check(BundlePool(executor, Meters()))

    asyncio.run(main())


async def fill(pool: BundlePool, *numbers: int) -> None:
    for number in numbers:
        pool.announce(number, KEY, {})
        await pool.prepare(number, lambda _: bundle())


def test_a_bundle_leaves_once() -> None:
    async def check(pool: BundlePool) -> None:
        await fill(pool, 1)
        taken = await asyncio.gather(
            *(pool.take(KEY, 0.05) for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(t, tuple) for t in taken) == 1
        assert sum(isinstance(t, UnavailableError) for t in taken) == 7
        with pytest.raises(WireError, match="no such bundle"):
            await pool.take_named(1, KEY, 0.05)

    with_pool(check)


def test_numbers_rise_strictly() -> None:
    async def check(pool: BundlePool) -> None:
        await fill(pool, 1, 5)
        for number in (0, 1, 4, 5):
            with pytest.raises(WireError, match="rise"):
                pool.announce(number, KEY, {})
        await pool.take_named(5, KEY, 0.05)
        with pytest.raises(WireError, match="rise"):
            pool.announce(5, KEY, {})

    with_pool(check)


def test_a_new_epoch_drops_everything_even_what_is_being_prepared() -> None:
    async def check(pool: BundlePool) -> None:
        await fill(pool, 1)
        pool.announce(2, KEY, {})
        under_way = asyncio.ensure_future(pool.prepare(2, lambda _: bundle()))
        await asyncio.sleep(0)
        pool.reset()
        await under_way
        assert not pool.levels
        with pytest.raises(UnavailableError):
            await pool.take(KEY, 0.05)

    with_pool(check)


def test_a_bundle_is_for_one_model_and_batch_size() -> None:
    async def check(pool: BundlePool) -> None:
        await fill(pool, 1)
        with pytest.raises(WireError, match="something else"):
            await pool.take_named(1, (KEY[0], 8), 0.05)
        with pytest.raises(WireError, match="something else"):
            await pool.take_named(1, ("cd" * 32, 1), 0.05)

    with_pool(check)


def test_corrections_are_taken_once_each_and_only_as_announced() -> None:
    async def check(pool: BundlePool) -> None:
        pool.announce(1, KEY, {2: 10, 4: 3})
        assert not pool.correct(1, 2, bytes(10))
        for number, step, size in ((1, 2, 10), (1, 4, 4), (1, 3, 3), (2, 4, 3)):
            with pytest.raises(WireError, match="unexpected"):
                pool.correct(number, step, bytes(size))
        assert pool.correct(1, 4, bytes(3))

    with_pool(check)


def test_who_waits_gets_the_next_bundle() -> None:
    async def check(pool: BundlePool) -> None:
        waiting = asyncio.ensure_future(pool.take(KEY, 5))
        named = asyncio.ensure_future(pool.take_named(7, KEY, 5))
        await asyncio.sleep(0)
        await fill(pool, 6, 7)
        assert (await waiting)[0] == 6
        await named

    with_pool(check)


def test_prepared_randomness_is_good_once() -> None:
    prepared = bundle()
    prepared.take()
    with pytest.raises(MaskReuseError):
        prepared.take()


def test_supply_keeps_the_pool_filled_within_its_bounds() -> None:
    async def check(pool: BundlePool) -> None:
        asked: list[int] = []
        supply = Supply(
            pool=pool,
            request=lambda deal: asked.append(deal.bundle),
            served=lambda: [KEY[0]],
            targets={1: 4},
            bundle_bytes=lambda _: 100,
            streamed=lambda _: False,
            max_bytes=350,
        )
        supply.top_up()
        assert asked == [1, 2]  # a few at a time, so that an urgent one is not kept waiting
        taking = asyncio.ensure_future(supply.take(KEY, 5))
        await asyncio.sleep(0)
        await pool.prepare(1, lambda _: bundle())
        supply.top_up()
        number, _ = await taking
        assert number == 1
        for step in range(2, 20):
            await pool.prepare(step, lambda _: bundle())
            supply.top_up()
        assert pool.level(KEY) == 3  # the fourth would be more than 350 bytes
        assert asked == sorted(set(asked))

    with_pool(check)

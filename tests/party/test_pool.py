"""Bundles are taken once, in one step, and never come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from libmpc.errors import UnavailableError
from libmpc.party.meters import Meters
from libmpc.party.pool import BundlePool
from libmpc.prg import MaskReuseError
from libmpc.protocol import ProtocolError
from libmpc.runtime import PreparedBundle
from libmpc.wire.errors import WireError
from tests.party.test_queries import PLAN

KEY = ("ab" * 32, 1)


def bundle() -> PreparedBundle:
    return PreparedBundle(0, 1, PLAN, {})


def one(number: int) -> range:
    return range(number, number + 1)


def with_pool(check: Callable[[BundlePool], Awaitable[None]]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            await check(BundlePool(executor, Meters()))

    asyncio.run(main())


async def fill(pool: BundlePool, *numbers: int) -> None:
    for number in numbers:
        pool.announce(one(number), KEY)
        await pool.prepare(number, lambda: [bundle()])


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
                pool.announce(one(number), KEY)
        await pool.take_named(5, KEY, 0.05)
        with pytest.raises(WireError, match="rise"):
            pool.announce(one(5), KEY)

    with_pool(check)


def test_a_new_epoch_drops_everything_even_what_is_being_prepared() -> None:
    async def check(pool: BundlePool) -> None:
        await fill(pool, 1)
        pool.announce(range(2, 5), KEY)
        three = [bundle() for _ in range(3)]
        under_way = asyncio.ensure_future(pool.prepare(2, three.copy))
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


def test_a_group_comes_together_without_what_was_dropped_meanwhile() -> None:
    async def check(pool: BundlePool) -> None:
        pool.announce(range(3, 7), KEY)
        assert (pool.level(KEY), pool.coming(KEY), pool.groups) == (0, 4, 1)
        assert pool.drop(4) == KEY
        assert pool.drop(4) is None
        assert pool.held == {KEY: 3}
        await pool.prepare(3, lambda: [bundle() for _ in range(4)])
        assert (pool.level(KEY), pool.coming(KEY), pool.groups) == (3, 0, 0)
        with pytest.raises(WireError, match="no such bundle"):
            await pool.take_named(4, KEY, 0.05)
        assert [(await pool.take(KEY, 0.05))[0] for _ in range(3)] == [3, 5, 6]
        for numbers in (range(6, 8), range(1, 2)):
            with pytest.raises(WireError, match="rise"):
                pool.announce(numbers, KEY)
        pool.announce(range(7, 9), KEY)
        for number in (7, 8):
            pool.drop(number)
        assert pool.groups == 0

    with_pool(check)


def test_a_preparation_that_fails_is_not_waited_for() -> None:
    async def check(pool: BundlePool) -> None:
        def fail() -> list[PreparedBundle]:
            raise ProtocolError

        pool.announce(range(1, 3), KEY)
        with pytest.raises(ProtocolError):
            await pool.prepare(1, fail)
        assert not pool.held[KEY]
        with pytest.raises(WireError, match="no such bundle"):
            await pool.take_named(2, KEY, 5)

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

"""Slots are taken in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from libmpc.party.turns import Turns


async def order(slots: int, runs: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Who got a slot, in order; all runs ask for one while the first ones hold theirs."""
    turns, began = Turns(slots), []

    async def run(model: str, batch: int) -> None:
        async with turns.turn(model, batch):
            began.append((model, batch))
            await asyncio.sleep(0)

    await asyncio.gather(*(run(*each) for each in runs))
    assert turns._free == slots
    assert not turns._models
    return began


def test_a_short_batch_does_not_wait_for_a_long_one() -> None:
    runs = [("a", 1)] * 5 + [("a", 2)] * 2
    began = asyncio.run(order(1, runs))
    assert began == [("a", 1), ("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 1), ("a", 1)]


def test_a_model_does_not_wait_for_all_batches_of_another() -> None:
    runs = [("a", n) for n in range(6)] + [("b", 6), ("b", 7)]
    began = asyncio.run(order(1, runs))
    assert [model for model, _ in began] == ["a", "a", "b", "a", "b", "a", "a", "a"]
    assert sorted(began) == sorted(runs)
    assert [n for model, n in began if model == "a"] == list(range(6))


def test_free_slots_are_taken_at_once() -> None:
    runs = [("a", n) for n in range(3)]
    assert asyncio.run(order(5, runs)) == runs


def test_no_slot_is_lost_where_somebody_gives_up() -> None:
    async def main() -> None:
        turns = Turns(1)
        began = []

        async def run(name: str) -> None:
            async with turns.turn("a", name):
                began.append(name)

        async with turns.turn("a", "first"):
            tasks = [asyncio.ensure_future(run(name)) for name in ("second", "third", "fourth")]
            await asyncio.sleep(0)
            tasks[0].cancel()  # while it waits
            await asyncio.sleep(0)
        tasks[1].cancel()  # with the slot in its hand
        await asyncio.wait(tasks)
        assert began == ["fourth"]
        assert turns._free == 1

    asyncio.run(main())


def test_a_run_that_fails_gives_its_slot_back() -> None:
    async def main() -> None:
        turns = Turns(1)
        try:
            async with turns.turn("a", 1):
                raise KeyError
        except KeyError:
            pass
        async with asyncio.timeout(20), turns.turn("a", 2):
            pass

    asyncio.run(main())

"""The dealer's window, party 1's corrections, and what a run is estimated to take."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from libmpc.party.run import RunAborted
from libmpc.party.sizes import Sizes, round_seconds
from libmpc.party.streams import Corrections, Window
from libmpc.runtime import prepared_sizes
from libmpc.wire.errors import WireError
from tests.party.test_streaming import DEEP


@pytest.mark.parametrize(
    ("window", "above", "ladder"),
    [
        (1, 0, (1,)),
        (1 << 30, 0, (1, 8, 32, 128)),
        (1, 1 << 30, (1, 8, 32, 128)),
        (64 * max(prepared_sizes(DEEP, 1).values()), 0, (1, 8, 32)),
    ],
)
def test_batch_sizes_follow_from_bytes(window: int, above: int, ladder: tuple[int, ...]) -> None:
    entry: Any = SimpleNamespace(variant="ab" * 32, plan=DEEP)
    sizes = Sizes(above, window)
    assert sizes.ladder(entry) == ladder
    assert sizes.streamed(entry, 1) == (above == 0)
    one, eight = (sizes.bundle_bytes(entry, rung) for rung in (1, 8))
    assert 7.5 * one < eight <= 8 * one  # bits share bytes


def test_the_time_for_a_round_grows_with_the_work_before_it() -> None:
    seconds = round_seconds(DEEP, 1)
    assert len(seconds) == len(DEEP.steps)
    assert all(0 < s < 0.01 for s in seconds)
    assert round_seconds(DEEP, 1000)[4] > 100 * seconds[4]
    # A linear step's work counts for the ReLU that follows, and for nothing after it.
    assert seconds[2] == pytest.approx(seconds[4])
    assert seconds[2] > seconds[1]


def test_a_window_lets_one_step_through_and_waits_for_credit() -> None:
    async def main() -> None:
        window = Window(10)
        await window.room()
        window.sent(3, 25)
        waiting = asyncio.ensure_future(window.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(WireError, match="credit"):
            window.credit(4)
        window.credit(3)
        await waiting
        with pytest.raises(WireError, match="credit"):
            window.credit(3)

    asyncio.run(main())


def test_corrections_come_in_order_once_and_as_announced() -> None:
    async def main() -> None:
        corrections = Corrections({2: 3, 5: 1})
        waiting = asyncio.ensure_future(corrections(2))
        await asyncio.sleep(0)
        with pytest.raises(WireError, match="unexpected"):
            Corrections({2: 3, 5: 1}).receive(5, b"1")
        with pytest.raises(WireError, match="unexpected"):
            Corrections({2: 3}).receive(2, b"1")
        corrections.receive(2, b"abc")
        assert await waiting == b"abc"
        with pytest.raises(WireError, match="unexpected"):
            corrections.receive(2, b"abc")
        ended = Corrections({2: 3})
        late = asyncio.ensure_future(ended(2))
        await asyncio.sleep(0)
        ended.receive(2, b"abc")
        ended.end(RunAborted())
        with pytest.raises(RunAborted):
            await late

    asyncio.run(main())

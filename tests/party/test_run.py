"""For each bundle and step one frame is sent and one accepted, ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.party.messages import RunHeader, Slice
from libmpc.party.run import LADDER, Run, RunAborted, compose

DIGEST = "ab" * 32
HEADER = RunHeader(
    bundle=1,
    model="cd" * 32,
    rung=1,
    slices=(Slice(query="ef" * 16, start=0, stop=1, tag_check=DIGEST),),
    digest=DIGEST,
)


def make_run(sent: list[Any], timeout: float = 5.0) -> Run:
    async def send(bundle: int, step: int, payload: bytes) -> None:
        sent.append((bundle, step, payload))

    return Run(1, HEADER, send, timeout)


def test_frames_may_come_early() -> None:
    async def main() -> None:
        sent: list[Any] = []
        run = make_run(sent)
        run.receive(8, b"theirs")
        assert await run.exchange(8, b"ours") == b"theirs"
        assert sent == [(1, 8, b"ours")]

    asyncio.run(main())


def test_a_step_is_never_sent_twice() -> None:
    async def main() -> None:
        sent: list[Any] = []
        run = make_run(sent)
        run.receive(8, b"theirs")
        await run.exchange(8, b"ours")
        with pytest.raises(RunAborted):
            await run.exchange(8, b"again")
        assert len(sent) == 1

    asyncio.run(main())


def test_a_second_frame_of_a_step_ends_the_run() -> None:
    async def main() -> None:
        run = make_run([])
        run.receive(8, b"one")
        run.receive(8, b"two")
        await run.exchange(8, b"ours")
        with pytest.raises(RunAborted):
            await run.exchange(9, b"ours")

    asyncio.run(main())


def test_nothing_more_is_sent_after_another_digest() -> None:
    async def main() -> None:
        sent: list[Any] = []
        run = make_run(sent)
        run.expect_agreement()
        run.receive(8, b"theirs")
        run.agree("00" * 32)
        with pytest.raises(RunAborted):
            await run.exchange(8, b"ours")
        assert len(sent) == 1

    asyncio.run(main())


def test_a_silent_peer_ends_the_run_in_bounded_time() -> None:
    async def main() -> None:
        with pytest.raises(RunAborted):
            await make_run([], timeout=0.01).exchange(8, b"ours")

    asyncio.run(main())


def test_an_aborted_run_wakes_whoever_waits() -> None:
    async def main() -> None:
        run = make_run([])
        waiting = asyncio.ensure_future(run.exchange(8, b"ours"))
        await asyncio.sleep(0)
        run.abort(RunAborted(("ef" * 16,)))
        with pytest.raises(RunAborted) as ended:
            await waiting
        assert ended.value.refused == ("ef" * 16,)

    asyncio.run(main())


@given(st.integers(1, 20_000), st.floats(0, 100))
def test_rows_are_spread_over_the_ladder(rows: int, run_rows: float) -> None:
    rungs = compose(rows, LADDER, run_rows)
    assert set(rungs) <= set(LADDER)
    assert rungs == sorted(rungs, reverse=True)
    assert sum(rungs) - min(rungs) < rows <= sum(rungs)


def test_rows_are_padded_where_another_run_costs_more() -> None:
    assert compose(7, LADDER, 0.1) == [1] * 7
    assert compose(7, LADDER, 0.2) == [8]
    assert compose(4, (1, 8), 1.0) == [1] * 4
    assert compose(4, (1, 8), 1.5) == [8]
    assert compose(3, (1,), 9.0) == [1] * 3


def test_the_time_for_a_round_is_that_of_its_step() -> None:
    async def main() -> None:
        run = make_run([], timeout=5.0)
        run.allowance = (1.0, 60.0)
        run.first_allowance = 20.0
        found = []
        for tag in (0, 8, 11, 16):
            run.receive(tag, b"")
            await run.exchange(tag, b"")
            found.append(run._seconds(tag))
        assert found == [26.0, 65.0, 65.0, 5.0]

    asyncio.run(main())

"""For each bundle and step one frame is sent and one accepted, ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.party.messages import RunHeader, Slice
from libmpc.party.rounds import Run
from libmpc.party.run import RunAborted
from libmpc.runtime.ladder import LADDER, compose

DIGEST = "ab" * 32
HEADER = RunHeader(
    bundle=1,
    model="cd" * 32,
    rung=1,
    slices=(Slice(query="ef" * 16, start=0, stop=1, tag_check=DIGEST),),
    digest=DIGEST,
)


def make_run(sent: list[Any], timeout: float = 5.0) -> Run:
    def post(bundle: int, step: int, payload: Any) -> None:
        sent.append((bundle, step, payload))

    return Run(1, HEADER, post, timeout)


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


@pytest.mark.parametrize("second", [7, 8])
def test_a_second_frame_of_a_step_or_before_it_ends_the_run(second: int) -> None:
    async def main() -> None:
        sent: list[Any] = []
        run = make_run(sent)
        run.receive(8, b"one")
        run.receive(second, b"two")
        for tag in (8, 9):
            with pytest.raises(RunAborted):
                await run.exchange(tag, b"ours")
        assert not sent

    asyncio.run(main())


def test_a_frame_that_is_there_costs_no_future_and_no_timer() -> None:
    async def main() -> None:
        run = make_run([])
        run.receive(8, b"theirs")
        exchange = run.exchange(8, b"ours")
        with pytest.raises(StopIteration) as done:
            exchange.send(None)  # it does not wait
        assert done.value.value == b"theirs"
        assert run._timer is None

    asyncio.run(main())


def test_a_frame_for_later_wakes_nobody() -> None:
    async def main() -> None:
        run = make_run([])
        waiting = asyncio.ensure_future(run.exchange(8, b"ours"))
        await asyncio.sleep(0)
        run.receive(8, b"theirs")
        run.receive(9, b"next")
        assert await waiting == b"theirs"
        assert await run.exchange(9, b"ours") == b"next"

    asyncio.run(main())


def test_the_first_round_waits_for_agreement() -> None:
    async def main() -> None:
        run = make_run([])
        run.expect_agreement()
        waiting = asyncio.ensure_future(run.exchange(8, b"ours"))
        await asyncio.sleep(0)
        run.receive(8, b"theirs")
        await asyncio.sleep(0)
        assert not waiting.done()
        run.agree(DIGEST)
        assert await waiting == b"theirs"

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
        assert not sent

    asyncio.run(main())


def test_another_digest_ends_a_round_that_waits() -> None:
    async def main() -> None:
        sent: list[Any] = []
        run = make_run(sent)
        run.expect_agreement()
        waiting = asyncio.ensure_future(run.exchange(8, b"ours"))
        await asyncio.sleep(0)
        run.receive(8, b"theirs")
        run.agree("00" * 32)
        with pytest.raises(RunAborted):
            await waiting
        with pytest.raises(RunAborted):
            await run.exchange(9, b"ours")
        assert len(sent) == 1

    asyncio.run(main())


def test_a_silent_peer_ends_the_run_in_bounded_time() -> None:
    async def main() -> None:
        with pytest.raises(RunAborted):
            await make_run([], timeout=0.01).exchange(8, b"ours")

    asyncio.run(main())


@pytest.mark.parametrize("times", [(600.0, 0.0), (0.0, 0.1)])
def test_every_round_has_its_own_deadline(
    times: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    """The first round's timer may be later or earlier than the second one's deadline."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        run = make_run([], timeout=0.05)
        run.allowance = (times[0], times[1])
        waiting = asyncio.ensure_future(run.exchange(0, b""))
        await asyncio.sleep(0)
        run.receive(0, b"")
        await waiting
        start = loop.time()
        async with asyncio.timeout(60):
            with pytest.raises(RunAborted):
                await run.exchange(8, b"")
        assert loop.time() - start >= 0.05 + times[1]
        run.close()

    with caplog.at_level("WARNING"):
        asyncio.run(main())
    assert f"no message of step 1 within {0.05 + times[1]:.1f} s" in caplog.text


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


def test_a_run_may_be_aborted_in_the_moment_in_which_its_frame_comes() -> None:
    async def main() -> None:
        run = make_run([])
        waiting = asyncio.ensure_future(run.exchange(8, b"ours"))
        await asyncio.sleep(0)
        run.receive(8, b"theirs")
        run.abort(RunAborted())
        with pytest.raises(RunAborted):
            await waiting

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
            waiting = asyncio.ensure_future(run.exchange(tag, b""))
            await asyncio.sleep(0)
            run.receive(tag, b"")
            await waiting
            found.append(run._seconds)
        run.close()
        assert found == [26.0, 65.0, 65.0, 5.0]

    asyncio.run(main())

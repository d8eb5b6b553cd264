"""How a link ends: on purpose, by silence, by an error; and how it holds a sender back."""

from __future__ import annotations

import asyncio
import random

import pytest

from libmpc.link import Inbox, Link, LinkEndedError, LinkError, LinkSettings, Message
from libmpc.link.pulse import RECORD_TIMEOUTS
from tests.link.support import broken, pair
from tests.manual_clock import ManualClock, settle

BIG = random.Random(7).randbytes(5_000_000)
SECRET = b"a secret share of somebody's input"


def test_an_explicit_end_is_no_error() -> None:
    async def run() -> None:
        _, one, two = await pair()
        inboxes = Inbox(one), Inbox(two)
        await two.send(1, 1, 1, b"last words")
        await two.close()
        assert (await inboxes[0].receive()).payload == b"last words"
        for inbox in inboxes:
            with pytest.raises(LinkEndedError):
                await inbox.receive()
        await one.wait_closed()
        assert one.error is None
        assert two.error is None
        for link in (one, two):
            assert not link.alive
            with pytest.raises(LinkEndedError):
                link.post(1, 1, 1)
            await link.close()

    asyncio.run(run())


def test_an_end_without_notice_is_an_error() -> None:
    async def run() -> None:
        ends, one, two = await pair()
        inbox = Inbox(two)
        ends.streams[0].cut()
        with pytest.raises(LinkError, match="without notice") as caught:
            await inbox.receive()
        assert not isinstance(caught.value, LinkEndedError)
        await broken(two)
        await one.close()

    asyncio.run(run())


def test_idle_links_stay_up_by_heartbeats() -> None:
    async def run() -> None:
        clock = ManualClock()
        _, one, two = await pair(clock=clock)
        inboxes = Inbox(one), Inbox(two)
        await clock.advance(60)
        assert one.alive
        assert two.alive
        assert one.sent.messages == 0
        assert 55 <= one.sent.wire_bytes // 36 <= 61
        await one.send(1, 1, 1, b"still here")
        assert (await inboxes[1].receive()).payload == b"still here"
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_a_silent_peer_is_dead_after_the_timeout() -> None:
    async def run() -> None:
        clock = ManualClock()
        ends, one, two = await pair(clock=clock)
        waiting = asyncio.ensure_future(Inbox(two).receive())
        one.start(lambda _: None)
        await clock.advance(10)
        assert two.alive
        ends.streams[0].held = True
        await clock.advance(2.4)
        assert two.alive
        await clock.advance(1.7)
        with pytest.raises(LinkError, match="silent"):
            await waiting
        await broken(two)
        await one.close()

    asyncio.run(run())


def test_a_record_that_never_ends_is_as_bad_as_silence() -> None:
    """Its length was changed on the way; heartbeats that follow are taken for its content."""

    async def run() -> None:
        clock = ManualClock()
        ends, one, two = await pair(clock=clock)
        inbox = Inbox(two)

        def longer(piece: bytes) -> bytes:
            ends.streams[0].tamper = None
            return piece[:1] + b"\x08" + piece[2:]  # half a megabyte

        ends.streams[0].tamper = longer
        one.post(1, 1, 1, SECRET)
        settings = LinkSettings()
        await clock.advance((RECORD_TIMEOUTS - 1) * settings.timeout)
        assert two.alive
        await clock.advance(2 * settings.timeout)
        with pytest.raises(LinkError, match="silent"):
            await inbox.receive()
        await broken(two)
        await one.close()

    asyncio.run(run())


def test_a_busy_peer_needs_no_heartbeats() -> None:
    async def run() -> None:
        clock = ManualClock()
        _, one, two = await pair(clock=clock)
        one.start(lambda _: None)
        two.start(lambda _: None)
        for step in range(40):
            one.post(1, 1, step, b"x")
            await clock.advance(0.5)
        assert one.sent.wire_bytes == 36 + 40 * (36 + 1)
        assert two.alive
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_own_blocked_loop_does_not_kill_the_peer() -> None:
    """After ten seconds without running, what has arrived meanwhile is read first."""

    async def run() -> None:
        clock = ManualClock()
        _, one, two = await pair(clock=clock)
        one.start(lambda _: None)
        two.start(lambda _: None)
        await clock.advance(3)
        clock._passed += 10.0
        await clock.advance(1)
        assert one.alive
        assert two.alive
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_paused_reading_holds_the_sender_back_and_is_not_silence() -> None:
    async def run() -> None:
        clock = ManualClock()
        ends, one, two = await pair(clock=clock)
        for stream in ends.streams:
            stream.capacity = 100_000
        one.start(lambda _: None)
        inbox = Inbox(two, limit=200_000)
        sending = asyncio.ensure_future(flood(one))
        await clock.advance(30)
        assert not sending.done()
        assert two.alive
        assert inbox._size < 2_000_000
        for _ in range(100):
            assert len((await inbox.receive()).payload) == 100_000
        await sending
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


async def flood(link: Link) -> None:
    for _ in range(100):
        await link.send(1, 1, 1, BIG[:100_000])


def test_a_cancelled_send_leaves_whole_messages_only() -> None:
    async def run() -> None:
        ends, one, two = await pair(settings=LinkSettings(high_water=100_000))
        ends.streams[0].capacity = 100_000
        sending = asyncio.ensure_future(one.send(1, 1, 1, BIG))
        await settle()
        assert not sending.done()
        sending.cancel()
        inbox = Inbox(two)
        one.post(2, 2, 2, b"after")
        assert (await inbox.receive()).payload == BIG
        assert (await inbox.receive()).payload == b"after"
        with pytest.raises(asyncio.CancelledError):
            await sending
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_close_ends_within_a_second_although_the_peer_takes_nothing() -> None:
    async def run() -> None:
        ends, one, two = await pair()
        ends.streams[0].capacity = 1000
        one.start(lambda _: None)
        sending = asyncio.ensure_future(one.send(1, 1, 1, BIG))
        await settle()
        assert not sending.done()
        await asyncio.wait_for(asyncio.gather(one.close(), one.close()), 1.0)
        with pytest.raises(LinkError):
            await sending
        assert ends.streams[0].closed
        await two.close()

    asyncio.run(run())


def test_close_sends_what_was_posted() -> None:
    async def run() -> None:
        _, one, two = await pair()
        inbox = Inbox(two)
        one.post(1, 1, 1, BIG)
        await one.close()
        assert (await inbox.receive()).payload == BIG
        with pytest.raises(LinkEndedError):
            await inbox.receive()

    asyncio.run(run())


def test_an_error_in_the_handler_breaks_the_link(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        _, one, two = await pair()

        def handler(message: Message) -> None:
            raise RuntimeError(bytes(message.payload).decode())

        two.start(handler)
        one.post(1, 1, 1, SECRET)
        assert str(await broken(two)) == "the link broke"
        await one.close()

    asyncio.run(run())
    # Where, but not the text: it could hold a value.
    assert "RuntimeError at test_link_life.py" in caplog.text
    assert SECRET.decode() not in caplog.text


def test_another_links_end_in_the_handler_is_no_end_of_this_one() -> None:
    async def run() -> None:
        _, one, two = await pair()
        _, other, third = await pair()
        await other.close()
        two.start(lambda _: other.post(1, 1, 1))
        one.post(1, 1, 1)
        assert not isinstance(await broken(two), LinkEndedError)
        await asyncio.gather(one.close(), third.close())

    asyncio.run(run())


def test_a_link_takes_one_handler_and_tells_it_of_the_end() -> None:
    async def run() -> None:
        _, one, two = await pair()
        ended: list[int] = []
        one.start(lambda _: None, lambda: ended.append(1))
        with pytest.raises(RuntimeError):
            one.start(lambda _: None)
        await one.close()
        assert ended == [1]
        await two.close()
        two.start(lambda _: None, lambda: ended.append(2))
        assert ended == [1, 2]

    asyncio.run(run())


def test_payloads_do_not_show() -> None:
    message = Message(1, 2, 3, SECRET)
    assert "share" not in repr(message)
    assert repr(message) == "Message(kind=1, bundle=2, step=3)"

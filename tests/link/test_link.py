"""What a link carries, and what breaks it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import pytest

from libmpc.link import Inbox, LinkSettings, Message
from libmpc.link.kinds import MAX_KIND
from libmpc.link.records import INVALID, MAX_RECORD_BYTES
from tests.link.support import broken, pair
from tests.manual_clock import settle

BIG = random.Random(7).randbytes(5_000_000)
SECRET = b"a secret share of somebody's input"


def test_messages_arrive_in_order_with_all_their_fields() -> None:
    async def run() -> None:
        _, one, two = await pair()
        inbox = Inbox(two)
        sent = [
            (0, 0, 0, b""),
            (MAX_KIND, (1 << 64) - 1, (1 << 32) - 1, b"x"),
            (7, 5, 3, b"abc" * 1000),
        ]
        for kind, bundle, step, payload in sent:
            await one.send(kind, bundle, step, payload)
        one.post(9, 1, 2, b"several ", bytearray(b"buffers "), memoryview(b"joined"))
        for kind, bundle, step, payload in [*sent, (9, 1, 2, b"several buffers joined")]:
            message = await inbox.receive()
            assert (message.kind, message.bundle, message.step) == (kind, bundle, step)
            assert message.payload == payload
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_what_is_followed_at_once_leaves_with_it() -> None:
    async def run() -> None:
        ends, one, two = await pair()
        inbox = Inbox(two)
        pieces: list[bytes] = []

        def tamper(piece: bytes) -> bytes:
            pieces.append(piece)
            return piece

        ends.streams[0].tamper = tamper
        one.post(7, 1, 0, b"first", more=True)
        assert pieces == []
        one.post(8, 1, 0, b"second")
        assert len(pieces) == 1
        one.post(9, 1, 0, b"third", more=True)  # and nothing follows
        kinds = [(await inbox.receive()).kind for _ in range(3)]
        assert kinds == [7, 8, 9]
        assert len(pieces) == 2
        one.post(10, 1, 0, more=True)
        await one.close()
        assert (await inbox.receive()).kind == 10

    asyncio.run(run())


@pytest.mark.parametrize("kind", [-1, MAX_KIND + 1, 255])
def test_reserved_kinds_cannot_be_sent(kind: int) -> None:
    async def run() -> None:
        _, one, two = await pair()
        with pytest.raises(ValueError, match="kinds"):
            one.post(kind, 0, 0)
        for link in (one, two):
            await link.close()

    asyncio.run(run())


def test_large_messages_both_ways_at_once() -> None:
    async def run() -> None:
        _, one, two = await pair()
        inboxes = Inbox(one), Inbox(two)
        await asyncio.gather(one.send(1, 1, 1, BIG), two.send(2, 2, 2, memoryview(BIG)[1:]))
        messages = await asyncio.gather(*(inbox.receive() for inbox in inboxes))
        assert messages[0].payload == BIG[1:]
        assert messages[1].payload == BIG
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize("excess", [-1, 0, 1])
@pytest.mark.parametrize("records", [1, 2, 3])
def test_sizes_around_the_end_of_a_record(records: int, excess: int) -> None:
    async def run() -> None:
        _, one, two = await pair()
        inbox = Inbox(two)
        payload = BIG[: records * MAX_RECORD_BYTES - 16 + excess]
        await one.send(1, 1, 1, payload)
        await one.send(2, 2, 2, b"next")
        assert (await inbox.receive()).payload == payload
        assert (await inbox.receive()).payload == b"next"
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    async def run() -> None:
        ends, one, two = await pair()
        inbox = Inbox(two)

        def cut(piece: bytes) -> None:
            for start in range(0, len(piece), size):
                ends.streams[0].inject(piece[start : start + size])

        ends.streams[0].tamper = cut
        for step in range(20):
            await one.send(1, 1, step, bytes([step]) * step * 13)
        for step in range(20):
            message = await inbox.receive()
            assert message.step == step
            assert message.payload == bytes([step]) * step * 13
        ends.streams[0].tamper = None
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_counters_agree_at_both_ends() -> None:
    async def run() -> None:
        _, one, two = await pair()
        inbox = Inbox(two)
        await one.send(1, 1, 1, b"12345")
        await one.send(1, 1, 2, b"67", b"8")
        words = memoryview(bytes(24)).cast("Q")
        await one.send(1, 1, 3, words)
        for _ in range(3):
            await inbox.receive()
        assert (one.sent.messages, one.sent.payload_bytes) == (3, 32)
        assert one.sent.wire_bytes == (1 + 3) * (4 + 16 + 16) + 32
        assert two.received.messages == 3
        assert two.received.payload_bytes == 32
        assert two.received.wire_bytes == one.sent.wire_bytes
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def flip(piece: bytes, position: int) -> bytes:
    changed = bytearray(piece)
    changed[position] ^= 1
    return bytes(changed)


PIECES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "tampered length": lambda pieces: [flip(pieces[0], 3)],
    "tampered last flag": lambda pieces: [bytes([pieces[0][0] ^ 0x80]) + pieces[0][1:]],
    "tampered header": lambda pieces: [flip(pieces[0], 4)],
    "tampered payload": lambda pieces: [flip(pieces[0], 21)],
    "tampered tag": lambda pieces: [flip(pieces[0], -1)],
    "replayed": lambda pieces: [pieces[0], pieces[0]],
    "reordered": lambda pieces: [pieces[1], pieces[0]],
    "dropped": lambda pieces: [pieces[1]],
    "endless": lambda _: [b"\xff\xff\xff\xff"],
    "shorter than a tag": lambda _: [b"\x80\0\0\x0f" + bytes(15)],
    "garbage": lambda _: [bytes(100)],
    "short record within a message": lambda _: [b"\0\0\0\x20" + bytes(32)],
}


@pytest.mark.parametrize("name", PIECES)
def test_bad_records_break_the_link(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        ends, one, two = await pair()
        pieces: list[bytes] = []

        def keep(piece: bytes) -> None:
            pieces.append(piece)

        ends.streams[0].tamper = keep
        got: list[Message] = []
        ended: list[bool] = []
        two.start(got.append, lambda: ended.append(True))
        for step in range(2):
            one.post(1, 1, step, SECRET)
            await settle()
        good = 1 if name == "replayed" else 0
        for piece in PIECES[name](pieces):
            ends.streams[0].inject(piece)
        ends.streams[0].inject(pieces[0])  # nothing is accepted any more
        error = await broken(two)
        assert str(error) == INVALID
        assert len(got) == good
        assert ended == [True]
        assert ends.streams[1].closed
        await one.close()

    asyncio.run(run())
    assert SECRET.decode() not in caplog.text
    assert "link 1 to 0" in caplog.text


def test_a_truncated_record_is_no_message() -> None:
    async def run() -> None:
        ends, one, two = await pair()
        ends.streams[0].tamper = lambda piece: piece[:-1]
        got: list[Message] = []
        two.start(got.append)
        one.post(1, 1, 1, SECRET)
        await settle()
        ends.streams[0].cut()
        assert "without notice" in str(await broken(two))
        assert got == []
        await one.close()

    asyncio.run(run())


def test_a_link_cannot_be_reflected() -> None:
    """Each direction has a key of its own: what one side sent, it does not accept."""

    async def run() -> None:
        ends, one, two = await pair()
        pieces: list[bytes] = []

        def keep(piece: bytes) -> None:
            pieces.append(piece)

        ends.streams[0].tamper = keep
        one.start(lambda _: None)
        one.post(1, 1, 1, SECRET)
        await settle()
        assert SECRET not in pieces[0]
        ends.streams[1].inject(pieces[0])
        assert str(await broken(one)) == INVALID
        await two.close()

    asyncio.run(run())


def test_messages_longer_than_allowed_break_the_link() -> None:
    async def run() -> None:
        settings = LinkSettings(max_message=3_000_000)
        _, one, two = await pair(settings=settings)
        got: list[Message] = []
        two.start(got.append)
        one.start(got.append)
        await one.send(1, 1, 1, BIG[:3_000_000])
        await one.send(1, 1, 2, BIG[:3_000_001])
        assert str(await broken(two)) == INVALID
        assert [len(message.payload) for message in got] == [3_000_000]
        await one.close()

    asyncio.run(run())

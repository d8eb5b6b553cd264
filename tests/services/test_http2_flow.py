"""Flow control: no more is sent than the peer allows, and no more is held than was allowed."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from libmpc.link import ByteStream
from services.common.http2 import connect_stream
from services.common.http2.limits import LINK_WINDOW
from services.common.tls import TlsFiles
from tests.services.http2 import Collector, Run, server, url
from tests.services.raw import (
    ACK,
    DATA,
    END_STREAM,
    FIRST_WINDOW,
    PADDED,
    PING,
    SETTINGS,
    WINDOW,
    Raw,
    credit,
    frame,
    raw,
    setting,
)

INITIAL_WINDOW, MAX_FRAME = 4, 5
FLOW_CONTROL_ERROR = 3
MIB = 1 << 20
BULK = random.Random(11).randbytes(3 * LINK_WINDOW)


class Streams:
    """The server's side of one link, in the hands of the test."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[ByteStream] = asyncio.Queue()

    async def __call__(self, stream: ByteStream) -> None:
        self.opened.put_nowait(stream)
        await asyncio.get_running_loop().create_future()


async def pong(link: Raw) -> list[bytes]:
    """Everything that the server has sent so far, as DATA payloads: up to the answer to a PING."""
    link.write(frame(PING, 0, 0, b"12345678"))
    pieces = []
    while True:
        kind, flags, stream, payload = await link.read()
        if kind == PING and flags & ACK:
            return pieces
        if kind == DATA:
            assert stream == 1
            pieces.append(payload)


def with_raw(
    test: Callable[[Raw, ByteStream], Awaitable[None]], *settings: bytes
) -> Callable[[], Awaitable[None]]:
    """Run a test with a raw client's link and the server's stream of it."""

    async def main() -> None:
        streams = Streams()
        async with server(None, streams) as port, raw(port) as link:
            await link.open_link(*settings)
            await test(link, await streams.opened.get())

    return main


def test_the_sender_obeys_both_windows_to_the_byte(run: Run) -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        stream.write(BULK)
        received = b"".join(await pong(link))
        assert len(received) == FIRST_WINDOW
        for update, more in (
            (credit(0, 1000), 0),  # the stream's window is used up
            (credit(1, 300), 300),
            (credit(1, 2000), 700),  # now the connection's is
            (credit(0, 1), 1),
            (credit(0, 40_000), 1299),
            (frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, FIRST_WINDOW + 50)), 50),
            (frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, 0)), 0),
            (credit(1, FIRST_WINDOW + 50), 0),  # the window was negative
            (credit(1, 7), 7),
        ):
            link.write(update)
            pieces = await pong(link)
            assert sum(map(len, pieces)) == more
            received += b"".join(pieces)
        assert received == BULK[: len(received)]
        assert stream.unsent >= len(BULK) - len(received)

    run(with_raw(test)())


@pytest.mark.parametrize("limit", [16384, 20_000, MIB, (1 << 24) - 1])
def test_frames_are_no_longer_than_the_peer_takes(limit: int) -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        link.write(credit(0, 8 * MIB), credit(1, 8 * MIB))
        await pong(link)
        stream.write(BULK[: 4 * MIB])
        pieces = await pong(link)
        assert b"".join(pieces) == BULK[: 4 * MIB]
        assert len(pieces[0]) == min(limit, MIB)
        stream.write(b"short")
        assert await pong(link) == [b"short"]

    asyncio.run(with_raw(test, setting(MAX_FRAME, limit))())


def test_a_reader_that_pauses_holds_a_window_and_not_a_byte_more(run: Run) -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        sink = Collector()
        stream.pause()
        stream.attach(sink)
        for start in range(0, LINK_WINDOW, MIB):
            link.write(frame(DATA, 0, 1, BULK[start : start + MIB]))
        assert await pong(link) == []
        assert not sink.data
        stream.resume()
        await sink.have(LINK_WINDOW)
        assert sink.data == BULK[:LINK_WINDOW]
        for number in (0, 1):  # the whole of it is allowed again
            kind, _, stream_number, payload = await link.until(WINDOW)
            assert (kind, stream_number) == (WINDOW, number)
            assert int.from_bytes(payload, "big") == LINK_WINDOW
        stream.pause()
        for start in range(0, LINK_WINDOW, MIB):
            link.write(frame(DATA, 0, 1, BULK[start : start + MIB]))
        link.write(frame(DATA, 0, 1, b"!"))
        assert await link.goaway() == FLOW_CONTROL_ERROR

    run(with_raw(test)())


def test_many_small_frames_take_little_more_memory_than_their_bytes() -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        stream.attach(Collector())
        stream.pause()
        tracemalloc.start()
        for _ in range(100):
            link.write(frame(DATA, 0, 1, b"x") * 1000)
            await pong(link)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 1_000_000

    asyncio.run(with_raw(test)())


def test_padding_counts_and_is_credited(run: Run) -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        sink = Collector()
        stream.attach(sink)
        padded = b"\xff" + b"d" * 700 + bytes(255)
        frames = LINK_WINDOW // 4 // len(padded)
        link.write(frame(DATA, PADDED, 1, padded) * frames)
        await pong(link)
        assert sink.data == b"d" * 700 * frames
        link.write(frame(DATA, PADDED, 1, padded))
        _, _, _, payload = await link.until(WINDOW)
        # All but the padding of the last one, which goes by after its data.
        assert int.from_bytes(payload, "big") == (frames + 1) * len(padded) - 255

    run(with_raw(test)())


def test_the_end_waits_for_what_is_held(run: Run) -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        sink = Collector()
        stream.pause()
        stream.attach(sink)
        link.write(frame(DATA, 0, 1, b"last "), frame(DATA, END_STREAM, 1, b"words"))
        await pong(link)
        assert not sink.ended.done()
        stream.resume()
        assert await sink.ended is None
        assert sink.data == b"last words"
        late = Collector()
        stream.attach(late)  # whoever comes later hears of it, too
        assert await late.ended is None

    run(with_raw(test)())


@pytest.mark.parametrize("secure", [True, False])
def test_a_slow_reader_holds_the_sender_back(
    run: Run, files: dict[str, TlsFiles], secure: bool
) -> None:
    zero, one = (files["zero"], files["one"]) if secure else (None, None)

    async def main() -> None:
        streams = Streams()
        async with server(one, streams) as port:
            ours = await connect_stream(url(port, "https" if secure else "http"), zero)
            ours.attach(Collector())
            theirs = await streams.opened.get()
            sink = Collector()
            theirs.pause()
            theirs.attach(sink)
            for start in range(0, len(BULK), MIB):
                ours.write(memoryview(BULK)[start : start + MIB])
            # What was allowed leaves, and the rest stays here however long we wait.
            await ours.room(len(BULK) - LINK_WINDOW)
            assert ours.unsent == len(BULK) - LINK_WINDOW
            more = asyncio.ensure_future(ours.room(len(BULK) - LINK_WINDOW - 1))
            answer = Collector()
            ours.attach(answer)
            theirs.write(b"the other direction is free")
            await answer.have(27)
            assert not more.done()
            assert not sink.data
            theirs.resume()
            await more
            await ours.room(0)
            await sink.have(len(BULK))
            assert sink.data == BULK
            await ours.close()
            assert await sink.ended is None

    run(main())


def test_both_sides_may_send_before_they_read(run: Run, files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        streams = Streams()
        async with server(files["one"], streams) as port:
            ours = await connect_stream(url(port), files["zero"])
            theirs = await streams.opened.get()
            sinks = Collector(), Collector()
            for stream, sink in zip((ours, theirs), sinks, strict=True):
                stream.pause()
                stream.attach(sink)
                stream.write(BULK)
            for stream in (ours, theirs):
                await stream.room(len(BULK) - LINK_WINDOW)
                stream.resume()
            for sink in sinks:
                await sink.have(len(BULK))
                assert sink.data == BULK
            await ours.close()

    run(main())


def test_closing_does_not_wait_for_a_peer_that_takes_nothing(run: Run) -> None:
    async def test(link: Raw, stream: ByteStream) -> None:
        stream.write(BULK)
        waiting = asyncio.ensure_future(stream.room(0))
        async with asyncio.timeout(1):
            await stream.close()
            await waiting

    run(with_raw(test)())

"""What a peer with a certificate cannot do: each offence ends its connection, and only that."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libmpc.link import LinkError
from services.common.http2 import connect_stream, limits
from tests.services.http2 import Collector, Run, server, url
from tests.services.raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    credit,
    frame,
    raw,
    setting,
)
from tests.services.test_http2_flow import Streams

NO_ERROR, PROTOCOL, FLOW, STREAM_CLOSED, FRAME_SIZE, CALM = 0, 1, 3, 5, 6, 11

ON_A_LINK: dict[str, tuple[bytes, int]] = {
    "DATA of another stream": (frame(DATA, 0, 3, b"x"), PROTOCOL),
    "DATA of the connection": (frame(DATA, 0, 0, b"x"), PROTOCOL),
    "DATA of a stream of ours": (frame(DATA, 0, 2, b"x"), PROTOCOL),
    "DATA longer than allowed": (frame(DATA, 0, 1, length=limits.MAX_FRAME_BYTES + 1), FRAME_SIZE),
    "DATA with one byte of padding too much": (frame(DATA, PADDED, 1, b"\5abcd"), PROTOCOL),
    "DATA with too much padding": (frame(DATA, PADDED, 1, b"\xffabcd"), PROTOCOL),
    "padded DATA without a length": (frame(DATA, PADDED, 1), FRAME_SIZE),
    "DATA after the end": (frame(DATA, END_STREAM, 1) + frame(DATA, 0, 1, b"x"), STREAM_CLOSED),
    "WINDOW_UPDATE by nothing": (credit(1, 0), PROTOCOL),
    "WINDOW_UPDATE of the connection by nothing": (credit(0, 0), PROTOCOL),
    "WINDOW_UPDATE beyond the maximum": (credit(1, (1 << 31) - 1), FLOW),
    "WINDOW_UPDATE of the connection beyond it": (credit(0, (1 << 31) - 1), FLOW),
    "WINDOW_UPDATE of five bytes": (frame(WINDOW, 0, 1, bytes(5)), FRAME_SIZE),
    "WINDOW_UPDATE of three bytes": (frame(WINDOW, 0, 0, bytes(3)), FRAME_SIZE),
    "WINDOW_UPDATE of no stream": (credit(99, 1), PROTOCOL),
    "settings beyond the maximum": (frame(SETTINGS, 0, 0, setting(4, 1 << 31)), FLOW),
    "settings that make a window too large": (
        credit(1, (1 << 31) - 1 - 65535) + frame(SETTINGS, 0, 0, setting(4, 65536)),
        FLOW,
    ),
    "settings with a frame size of none": (frame(SETTINGS, 0, 0, setting(5, 1)), PROTOCOL),
    "settings on a stream": (frame(SETTINGS, 0, 1, setting(3, 1)), PROTOCOL),
    "settings of a wrong length": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE),
    "PING of a wrong length": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL),
    "RST_STREAM of a wrong length": (frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 3, b""), PROTOCOL),
    "PUSH_PROMISE of a client": (frame(PUSH, END_HEADERS, 1, bytes(4)), PROTOCOL),
    "PRIORITY on itself": (frame(PRIORITY, 0, 3, struct.pack(">IB", 3, 0)), PROTOCOL),
    "headers of an even stream": (frame(HEADERS, END_HEADERS, 2, b"\x82"), PROTOCOL),
    "headers that do not decompress": (frame(HEADERS, END_HEADERS, 3, b"\xff" * 20), PROTOCOL),
    "DATA within headers": (frame(HEADERS, 0, 3, b"\x82") + frame(DATA, 0, 1, b"x"), PROTOCOL),
    "a window within headers": (frame(HEADERS, 0, 3, b"\x82") + credit(1, 1), PROTOCOL),
    "a frame of 16 MB": (frame(99, 0, 0, length=(1 << 24) - 1), FRAME_SIZE),
    "headers without end": (
        frame(HEADERS, 0, 3, b"\x82") + frame(CONTINUATION, 0, 3, bytes(16384)) * 3,
        CALM,
    ),
    "empty headers without end": (
        frame(HEADERS, 0, 3) + frame(CONTINUATION, 0, 3) * 2000,
        PROTOCOL,
    ),
    "a flood of PING": (frame(PING, 0, 0, bytes(8)) * 1500, CALM),
    "a flood of SETTINGS": (frame(SETTINGS, 0, 0) * 1500, CALM),
    "a flood of PRIORITY": (frame(PRIORITY, 0, 5, struct.pack(">IB", 3, 0)) * 1500, CALM),
    "a flood of unknown frames": (frame(99, 0, 7, b"x") * 1500, CALM),
    "a flood of empty DATA": (frame(DATA, 0, 1) * 1500, CALM),
}


@pytest.mark.parametrize("name", ON_A_LINK)
def test_offences_on_a_link(name: str) -> None:
    sent, code = ON_A_LINK[name]

    async def main() -> None:
        streams = Streams()
        async with server(None, streams) as port, raw(port) as link:
            await link.open_link()
            stream = await streams.opened.get()
            sink = Collector()
            stream.attach(sink)
            link.write(sent)
            assert await link.goaway() == code
            error = await sink.ended
            if code != STREAM_CLOSED:  # there, the end had come before
                assert isinstance(error, LinkError)
                assert str(error) == "the connection to a client broke"
            stream.write(b"dropped")
            await stream.room(0)
            await works(port)

    asyncio.run(main())


async def works(port: int) -> None:
    """The server still answers."""
    async with raw(port) as other:
        other.write(PREFACE, frame(SETTINGS, 0, 0))
        other.write(other.request(1, "GET", "/v1/plain", END_HEADERS | END_STREAM))
        assert (await other.until(DATA))[3] == b'{"still":"works"}'


def test_frames_that_mean_nothing_do_no_harm(run: Run) -> None:
    async def main() -> None:
        streams = Streams()
        async with server(None, streams) as port, raw(port) as link:
            await link.open_link()
            sink = Collector()
            (await streams.opened.get()).attach(sink)
            link.write(
                frame(DATA, 0, 1, b"one "),
                frame(99, 0xFF, 1, b"unknown"),
                frame(SETTINGS, 0, 0, setting(0xF00, 1)),
                frame(PRIORITY, 0, 5, struct.pack(">IB", 1, 0)),
                frame(PING, ACK, 0, bytes(8)),
                frame(DATA, PADDED, 1 | 1 << 31, b"\3two pad"),  # the reserved bit is ignored
                frame(DATA, 0, 1),
            )
            await sink.have(8)
            assert sink.data == b"one two "

    run(main())


def test_a_link_has_its_connection_for_itself(run: Run) -> None:
    async def main() -> None:
        async with server(None, Streams()) as port, raw(port) as link:
            await link.open_link()
            link.write(link.request(3, "GET", "/v1/plain", END_HEADERS | END_STREAM))
            _, _, stream, code = await link.until(RST_STREAM)
            assert (stream, int.from_bytes(code, "big")) == (3, 7)
            link.write(frame(PING, 0, 0, b"still up"))
            assert (await link.until(PING))[3] == b"still up"

    run(main())


@pytest.mark.parametrize("last", [frame(RST_STREAM, 0, 1, bytes(4)), frame(GOAWAY, 0, 0, bytes(8))])
def test_a_reset_or_a_goaway_ends_the_link(run: Run, last: bytes) -> None:
    async def main() -> None:
        streams = Streams()
        async with server(None, streams) as port, raw(port) as link:
            await link.open_link()
            stream = await streams.opened.get()
            sink = Collector()
            stream.attach(sink)
            link.write(frame(DATA, 0, 1, b"before"), last)
            error = await sink.ended
            assert sink.data == b"before"
            assert (error is None) == (last[3] == GOAWAY)
            await stream.close()

    run(main())


OFFENCES: dict[str, tuple[bytes, int]] = {
    "HTTP/1": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL),
    "a preface with a mistake": (PREFACE[:-1] + b"x", PROTOCOL),
    "DATA before a request": (PREFACE + frame(DATA, 0, 1, b"x"), PROTOCOL),
    "a body without credit": (
        PREFACE + frame(DATA, 0, 1, length=limits.MAX_HELD_FRAME_BYTES + 1),
        FRAME_SIZE,
    ),
}


@pytest.mark.parametrize("name", OFFENCES)
def test_offences_before_a_link(name: str) -> None:
    sent, code = OFFENCES[name]

    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            client.write(sent)
            assert await client.goaway() == code
            await works(port)

    asyncio.run(main())


def test_long_headers_are_refused() -> None:
    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            more = [(f"x-{i}", "v" * 1000) for i in range(20)]
            block = client.headers("GET", "/v1/plain", *more)
            client.write(PREFACE, frame(SETTINGS, 0, 0))
            client.write(frame(HEADERS, 0, 1, block[:9000]))
            client.write(frame(CONTINUATION, END_HEADERS, 1, block[9000:]))
            assert await client.goaway() == CALM

    asyncio.run(main())


def test_rapid_resets_are_bounded() -> None:
    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            client.write(PREFACE, frame(SETTINGS, 0, 0))
            sent = []
            for stream in range(1, 1401, 2):
                ask = client.request(stream, "GET", "/v1/plain", END_HEADERS | END_STREAM)
                sent += [ask, frame(RST_STREAM, 0, stream, bytes(4))]
            client.write(*sent)
            assert await client.goaway() == CALM
            await works(port)

    asyncio.run(main())


def test_too_many_requests_at_once_are_refused() -> None:
    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            client.write(PREFACE, frame(SETTINGS, 0, 0))
            for stream in range(1, 2 * limits.MAX_STREAMS + 2, 2):
                client.write(client.request(stream, "POST", "/v1/size"))
            assert await client.goaway() == PROTOCOL

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", PREFACE[:7], PREFACE + frame(SETTINGS, 0, 0)])
def test_who_asks_for_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("services.common.http2.server_connection.OPENING_SECONDS", 0.1)

    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            client.write(sent)
            async with asyncio.timeout(5):
                assert await client.goaway() == NO_ERROR

    asyncio.run(main())


def test_idle_connections_end_and_links_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"services.common.http2.server_connection.{name}", 0.3)

    async def main() -> None:
        streams = Streams()
        async with server(None, streams) as port, raw(port) as client:
            link = await connect_stream(url(port, "http"), None)
            client.write(PREFACE, frame(SETTINGS, 0, 0))
            client.write(client.request(1, "GET", "/v1/plain", END_HEADERS | END_STREAM))
            await client.until(DATA)
            async with asyncio.timeout(5):
                assert await client.goaway() == NO_ERROR
            sink = Collector()
            link.attach(sink)
            (await streams.opened.get()).write(b"still up")
            await sink.have(8)
            await link.close()

    asyncio.run(main())


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that ask for nothing make room; links do not."""
    monkeypatch.setattr("services.common.http2.server_connection.MAX_CONNECTIONS", 2)

    async def main() -> None:
        async with server(None, Streams()) as port, raw(port) as link:
            await link.open_link()
            async with raw(port) as idle:
                idle.write(PREFACE, frame(SETTINGS, 0, 0))
                await idle.until(SETTINGS)
                await works(port)
                assert await idle.goaway() == CALM
                async with raw(port) as second:
                    await second.open_link()
                    async with raw(port) as third:  # two links
                        assert await third.goaway() == CALM
                link.write(frame(PING, 0, 0, b"still up"))
                assert (await link.until(PING))[3] == b"still up"

    asyncio.run(main())


FRAMES = st.one_of(
    st.binary(max_size=40),
    st.builds(
        frame,
        st.integers(0, 12),
        st.integers(0, 255),
        st.sampled_from([0, 1, 1, 2, 3, 5, 1 << 31]),
        st.binary(max_size=30),
        st.sampled_from([-1, -1, -1, 0, 4, 8, 1000, 1 << 20, (1 << 24) - 1]),
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.booleans(), st.lists(FRAMES, max_size=8)), min_size=1, max_size=12))
def test_whatever_is_sent_the_server_lives(plays: list[tuple[bool, list[bytes]]]) -> None:
    unhandled: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        async with server(None) as port:
            for linked, sent in plays:
                async with raw(port) as client:
                    if linked:
                        await client.open_link()
                    else:
                        client.write(PREFACE)
                    client.write(*sent)
                    client.writer.write_eof()
                    async with asyncio.timeout(5):
                        with contextlib.suppress(ConnectionError):
                            await client.reader.read()
            await works(port)

    asyncio.run(main())
    assert not unhandled

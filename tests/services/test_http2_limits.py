"""The HTTP/2 endpoint under peers who are slow or flood it: others are answered meanwhile, and
memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys

import pytest

from tests.services.http2 import Run, server
from tests.services.raw import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    Raw,
    credit,
    frame,
    raw,
    setting,
)
from tests.services.test_http2_hostile import works

MIB = 1 << 20
BOTH = END_HEADERS | END_STREAM


async def over(client: Raw) -> None:
    """Returns when the server has ended the connection, which it soon does."""
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            while await client.reader.read(1 << 16):
                pass


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"services.common.http2.server_connection.{name}", 0.3)


@pytest.mark.usefixtures("quick")
def test_slow_headers_and_bodies_are_not_waited_for(run: Run) -> None:
    async def main() -> None:
        async with server(None) as port:
            for path, piece in (("/v1/size", frame(DATA, 0, 1, b"x")), (None, b"")):
                async with raw(port) as client:
                    client.write(PREFACE, frame(SETTINGS, 0, 0))
                    if path is None:  # headers that never end, a frame at a time
                        client.write(frame(HEADERS, 0, 1, b"\x82"))
                        piece = frame(CONTINUATION, 0, 1, b"")
                    else:
                        client.write(client.request(1, "POST", path))
                    end = asyncio.ensure_future(over(client))
                    while not end.done():
                        client.write(piece)
                        await asyncio.sleep(0.03)
                    await end
            await works(port)

    run(main())


@pytest.mark.usefixtures("quick")
def test_a_window_of_nothing_does_not_hold_an_answer_for_ever(run: Run) -> None:
    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            client.write(PREFACE, frame(SETTINGS, 0, 0, setting(4, 0)))
            client.write(client.request(1, "GET", "/v1/plain", BOTH))
            await client.until(HEADERS)
            await over(client)
            await works(port)

    run(main())


@pytest.mark.usefixtures("quick")
def test_who_takes_no_answers_is_let_go(run: Run) -> None:
    """Windows wide open, a socket that nobody reads, and one large answer after the other."""

    async def main() -> None:
        async with server(None) as port, raw(port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.write(PREFACE, frame(SETTINGS, 0, 0, setting(4, (1 << 31) - 1)))
            client.write(credit(0, (1 << 31) - 1 - 65535))
            with contextlib.suppress(ConnectionError):
                for stream in range(1, 61, 2):
                    ask = client.request(stream, "GET", "/v1/long?length=1000000", BOTH)
                    client.write(ask)
                    await client.writer.drain()
                    await asyncio.sleep(0.02)
            await works(port)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await over(client)

    run(main())


def _requests(client: Raw, count: int) -> list[bytes]:
    return [client.request(stream, "GET", "/v1/plain", BOTH) for stream in range(1, 2 * count, 2)]


FLOODS = {
    "rapid resets": lambda client: [
        part
        for number, ask in enumerate(_requests(client, 2000))
        for part in (ask, frame(RST_STREAM, 0, 2 * number + 1, bytes(4)))
    ],
    "PING": lambda client: [frame(PING, 0, 0, bytes(8))] * 5000,
    "SETTINGS": lambda client: [frame(SETTINGS, 0, 0, setting(4, 9))] * 5000,
    "CONTINUATION": lambda client: [
        frame(HEADERS, 0, 1, b"\x82"),
        *[frame(CONTINUATION, 0, 1, bytes(16000))] * 1000,
    ],
    "a header of many": lambda client: [
        frame(
            HEADERS, END_HEADERS, 1, client.headers("GET", "/", ("x", "y" * 4000)) + b"\xbe" * 9000
        )
    ],
    "windows": lambda client: [
        client.request(1, "POST", "/v1/size"),
        *[credit(0, 1), credit(1, 1)] * 3000,
    ],
    "empty DATA": lambda client: [
        client.request(1, "POST", "/v1/size"),
        *[frame(DATA, 0, 1)] * 5000,
    ],
    "GOAWAY": lambda client: [frame(GOAWAY, 0, 0, bytes(8))] * 5000,
    "WINDOW_UPDATE of streams that are over": lambda client: (
        [frame(WINDOW, 0, 1, b"\0\0\0\1")] * 5000
    ),
}


def peak_bytes() -> int:
    """The most memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_and_hold_nothing(name: str) -> None:
    async def main() -> None:
        async with server(None) as port:
            await works(port)
            before = peak_bytes()
            for _ in range(3):
                async with raw(port) as client:
                    client.write(PREFACE, frame(SETTINGS, 0, 0))
                    sent = FLOODS[name](client)
                    flooding = asyncio.ensure_future(over(client))
                    for at in range(0, len(sent), 200):
                        if flooding.done():
                            break
                        client.write(*sent[at : at + 200])
                        with contextlib.suppress(ConnectionError):
                            await client.writer.drain()
                    async with asyncio.timeout(10):
                        await works(port)
                    await flooding
            # What the test itself holds is in it: the flood, several MB.
            assert peak_bytes() - before < 64 * MIB

    asyncio.run(main())

"""The HTTP/1.1 server under strangers who are slow, silent, endless or many: others are answered,
and nothing is held for longer than the bounds say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.common import http1_connection
from services.common.http1_server import Http1Server
from services.common.tls import TlsFiles
from tests.services.http2 import Run

GET = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 1 << 20
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD", "REST", "ANSWER", "CLOSING"):
        monkeypatch.setattr(http1_connection, f"{name}_SECONDS", 0.3)
    monkeypatch.setattr("services.common.http1_server._TICKS_PER_LOOK", 1)


class App:
    """``/plain`` answers at once, ``/large`` with 32 MB, ``/page`` with 50 kB; ``/wait`` when
    ``go`` is set, and ``/read`` when the body is there."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b"ok"
        match scope["path"]:
            case "/large":
                body = bytes(32 * MIB)
            case "/page":
                body = bytes(50_000)
            case "/wait":
                await self.go.wait()
            case "/read":
                while (await receive()).get("more_body"):
                    pass
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(tls: TlsFiles | None = None) -> AsyncIterator[tuple[int, App]]:
    app = App()
    server = Http1Server(app, "127.0.0.1", 0, tls)
    await server.start()
    try:
        yield server.port, app
    finally:
        await server.stop()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def works(port: int) -> None:
    """Somebody else is answered."""
    async with asyncio.timeout(5), client(port) as (reader, writer):
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def over(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the server has closed the connection, which it soon does."""
    found = b""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                found += data
    return found


async def slowly(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send it again and again, with pauses, for as long as somebody is there."""
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)


async def endlessly(writer: asyncio.StreamWriter, piece: bytes, most: int = 64 * MIB) -> int:
    """Send it for as long as somebody takes it; how much was taken."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most and not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    return sent


@pytest.mark.parametrize("said", [b"", b"GET ", GET[:-2], GET + b"GET /pl"])
def test_who_does_not_finish_a_request_is_let_go(run: Run, said: bytes) -> None:
    async def main() -> None:
        async with served() as (port, _), client(port) as (reader, writer):
            writer.write(said)
            await works(port)
            answer = await over(reader)
            assert answer.count(b"200 OK") == said.count(b"\r\n\r\n")

    run(main())


def test_slow_headers_are_not_waited_for(run: Run) -> None:
    async def main() -> None:
        async with served() as (port, _), client(port) as (reader, writer):
            writer.write(GET[:-2])
            feeding = asyncio.ensure_future(slowly(writer, b"x: y\r\n"))
            await works(port)
            assert b"200" not in await over(reader)
            feeding.cancel()

    run(main())


def test_a_slow_rest_of_an_answered_request_is_not_waited_for(run: Run) -> None:
    async def main() -> None:
        async with served() as (port, _), client(port) as (reader, writer):
            writer.write(GET[:-2] + b"Content-Length: 1000000\r\n\r\n")
            await reader.readuntil(b"ok")
            feeding = asyncio.ensure_future(slowly(writer, b"x"))
            assert await over(reader) == b""
            await works(port)
            feeding.cancel()

    run(main())


CHUNKED = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "an address": (b"GET /", b"a" * 65536),
    "a header": (b"GET / HTTP/1.1\r\nx: ", b"a" * 65536),
    "headers": (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 8192),
    "trailers": (CHUNKED % b"/read" + b"0\r\n", b"x: y\r\n" * 8192),
    "a trailer": (CHUNKED % b"/read" + b"0\r\nx: ", b"a" * 65536),
    "a trailer after the answer": (CHUNKED % b"/plain" + b"0\r\nx: ", b"a" * 65536),
    "an extension of a chunk": (CHUNKED % b"/read" + b"5;", b"a" * 65536),
    "chunks with extensions": (
        CHUNKED % b"/read",
        b"1;aaaaaaaaaaaaaaaa\r\nx\r\n" * 4096,
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_cut_off(name: str) -> None:
    first, more = ENDLESS[name]

    async def main() -> None:
        async with served() as (port, _), client(port) as (_, writer):
            writer.write(first)
            tracemalloc.start()
            taken = await endlessly(writer, more)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert taken < 16 * MIB  # most of it is in the kernel's buffers
            assert peak < 8 * MIB
            await works(port)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"what is this\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9" + b"9" * 30 + b"\r\n\r\n", b"400"),
        (CHUNKED % b"/read" + b"xyz\r\n", b""),  # the application was asked: no second answer
    ],
)
def test_errors_of_the_server_itself_have_the_form_of_all(
    run: Run, sent: bytes, status: bytes
) -> None:
    async def main() -> None:
        async with served() as (port, _), client(port) as (reader, writer):
            writer.write(sent)
            head, _, body = (await over(reader)).partition(b"\r\n\r\n")
            assert head[9:12] == status
            if status:
                assert set(json.loads(body)) == {"error"}
            await works(port)

    run(main())


@pytest.mark.parametrize("path", [b"/large", b"/page"])
def test_who_does_not_read_the_answer_is_let_go(run: Run, path: bytes) -> None:
    """The answer is larger than what the kernel holds; or many small ones are."""

    async def main() -> None:
        async with served() as (port, _), client(port) as (reader, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            ask = GET.replace(b"/plain", path)
            sent = await asyncio.wait_for(
                endlessly(writer, ask * (1 if path == b"/large" else 1000)), 20
            )
            assert sent < 64 * MIB
            await works(port)
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            await over(reader)

    run(main())


def test_requests_ahead_of_their_answers_are_bounded(run: Run) -> None:
    async def main() -> None:
        async with served() as (port, app), client(port) as (reader, writer):
            wait = GET.replace(b"/plain", b"/wait")
            few = http1_connection.MAX_PIPELINED
            writer.write(wait + GET * few)
            await works(port)
            app.go.set()
            for _ in range(1 + few):
                await reader.readuntil(b"ok")
            app.go.clear()
            writer.write(wait + GET * 100_000)
            assert b"200" not in await over(reader)
            await works(port)

    run(main())


def test_many_who_ask_for_nothing_make_room(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_connection, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(http1_connection, "HEAD_SECONDS", 60)

    async def main() -> None:
        async with served() as (port, app), client(port) as (reader, writer):
            writer.write(GET.replace(b"/plain", b"/wait"))  # the oldest, but at work
            async with contextlib.AsyncExitStack() as stack:
                idle = []
                for _ in range(40):
                    idle.append(await stack.enter_async_context(client(port)))
                    await works(port)
                for stranger, _ in idle[:30]:
                    assert await over(stranger) == b""
            app.go.set()
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    run(main())


def test_a_port_full_of_work_refuses(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_connection, "MAX_CONNECTIONS", 1)

    async def main() -> None:
        async with served() as (port, app), client(port) as (reader, writer):
            writer.write(GET.replace(b"/plain", b"/wait"))
            async with client(port) as (other, _):
                assert await over(other) == b""
            app.go.set()
            await reader.readuntil(b"ok")
            await works(port)

    run(main())


def test_half_a_tls_handshake_is_not_waited_for(
    run: Run, files: dict[str, TlsFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.common.http1_server.HANDSHAKE_SECONDS", 0.3)

    async def main() -> None:
        async with served(files["one"]) as (port, _):
            for said in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
                async with client(port) as (reader, writer):
                    writer.write(said)
                    await over(reader)

    run(main())


def test_a_long_answer_that_is_read_slowly_but_read_arrives(run: Run) -> None:
    """The bounds are for those who do not take it, not for slow lines."""

    async def main() -> None:
        async with served() as (port, _), client(port) as (reader, writer):
            writer.write(GET.replace(b"/plain", b"/large"))
            await reader.readuntil(b"\r\n\r\n")
            got, end = 0, asyncio.get_running_loop().time() + 1.0
            while asyncio.get_running_loop().time() < end:
                got += len(await reader.read(1 << 18))
                await asyncio.sleep(0.02)
            while got < 32 * MIB:
                got += len(await reader.read(1 << 20))
            writer.write(GET)
            await reader.readuntil(b"ok")

    run(main())

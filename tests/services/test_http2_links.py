"""Links over real sockets, between processes and event loops."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from libmpc.link import ByteStream, Inbox, LinkError, accept
from services.common.http2 import Http2Server, LinkEndpoint, connect_stream
from services.common.http2.link_stream import LinkStream
from services.common.tls import TlsFiles
from tests.link.support import identity, known
from tests.services.http2 import Run, free_port, link_to, make_app, serve_echo, server, url
from tests.services.link_server import ECHO, SETTINGS, SINK, TOTAL, echo

ROOT = Path(__file__).parents[2]
BULK = random.Random(8).randbytes(3_000_000)


@pytest.mark.parametrize("secure", [True, False])
def test_full_duplex(run: Run, files: dict[str, TlsFiles], secure: bool) -> None:
    async def main() -> None:
        async with server(files["one"] if secure else None) as port:
            link = await link_to(port, files["zero"] if secure else None)
            inbox = Inbox(link)
            for step in range(1000):
                link.post(ECHO, 7, step, step.to_bytes(4, "big") * 250)
                message = await inbox.receive()
                assert (message.bundle, message.step) == (7, step)
                assert message.payload == step.to_bytes(4, "big") * 250
            for step in range(5):
                await link.send(ECHO, 8, step, BULK)
            for step in range(5):
                message = await inbox.receive()
                assert message.step == step
                assert message.payload == BULK
            for _ in range(10):
                await link.send(SINK, 0, 0, BULK)
            link.post(TOTAL, 0, 0)
            assert (await inbox.receive()).bundle == 10 * len(BULK)
            await link.close()
            assert link.error is None

    run(main())


@pytest.mark.parametrize("secure", [True, False])
def test_who_comes_early_waits(run: Run, files: dict[str, TlsFiles], secure: bool) -> None:
    """A party's peers knock once while its kernels are loaded, and not again some time later."""

    async def main() -> None:
        tls = files["one"] if secure else None
        http = Http2Server(make_app(), "127.0.0.1", 0, tls, endpoint=LinkEndpoint(serve_echo))
        http.listen()
        port = http.port
        early = asyncio.ensure_future(link_to(port, files["zero"] if secure else None))
        _, probe = await asyncio.open_connection("127.0.0.1", port)  # nobody is turned away
        probe.close()
        if tls is not None:
            await http.renew(tls)  # nobody is let in by that
        assert not early.done()
        await http.start()
        link = await early
        link.post(ECHO, 1, 2, b"early")
        assert (await Inbox(link).receive()).payload == b"early"
        await link.close()
        await http.stop()
        for _ in range(2):  # the port is given back, also by one that was never started
            never = Http2Server(make_app(), "127.0.0.1", port, None)
            never.listen()
            await never.stop()

    run(main())


def test_small_messages_leave_at_once(run: Run) -> None:
    """Neither side waits to fill a segment: both loops switch Nagle's algorithm off."""

    async def main() -> None:
        delays: list[int] = []

        async def on_stream(stream: ByteStream) -> None:
            delays.append(no_delay(stream))

        async with server(None, on_stream) as port:
            stream = await connect_stream(url(port, "http"), None)
            delays.append(no_delay(stream))
            await stream.close()
        assert delays == [1, 1]

    def no_delay(stream: ByteStream) -> int:
        assert isinstance(stream, LinkStream)
        tcp = stream._transport.get_extra_info("socket")
        return int(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    run(main())


def test_the_server_ends_links_when_it_stops(run: Run, files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        async with server(files["one"]) as port:
            link = await link_to(port, files["zero"])
            link.start(lambda _: None)
        await asyncio.wait_for(link.wait_closed(), 1)
        assert link.error is not None
        with pytest.raises(LinkError, match=f"127.0.0.1:{port}"):
            await connect_stream(url(port), files["zero"])

    run(main())


def test_nobody_there_is_an_error_with_host_and_port(files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        port = free_port()
        with pytest.raises(LinkError, match=f"cannot reach 127.0.0.1:{port}"):
            await connect_stream(url(port), files["zero"])

    asyncio.run(main())


def test_a_listener_that_never_answers_is_an_error_in_time(files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            port = mute.getsockname()[1]
            begun = time.monotonic()
            with pytest.raises(LinkError, match=f"127.0.0.1:{port}"):
                await connect_stream(url(port), files["zero"], timeout=0.5)
            assert time.monotonic() - begun < 2

    asyncio.run(main())


def test_proxies_of_the_environment_are_not_used(
    files: dict[str, TlsFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def main() -> None:
        async with server(files["one"]) as port:
            link = await link_to(port, files["zero"])
            await link.close()

    asyncio.run(main())


@contextmanager
def process(tls: TlsFiles) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Party 1 as a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.services.link_server", str(port)]
    command += [str(tls.certificate), str(tls.key), str(tls.ca)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield port, child
        finally:
            child.send_signal(signal.SIGCONT)
            child.kill()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_frozen_server_is_noticed(
    files: dict[str, TlsFiles], sent: signal.Signals
) -> None:
    async def main() -> None:
        with process(files["one"]) as (port, child):
            link = await link_to(port, files["zero"])
            inbox = Inbox(link)
            link.post(ECHO, 1, 1, b"there?")
            assert (await inbox.receive()).payload == b"there?"
            os.kill(child.pid, sent)
            with pytest.raises(LinkError):
                await asyncio.wait_for(inbox.receive(), 3)
            assert link.error is not None
            begun = time.monotonic()
            await link.close()
            assert time.monotonic() - begun < 1

    uvloop.run(main())


def test_a_client_that_ends_without_notice_is_noticed(run: Run, files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        ended: asyncio.Queue[LinkError | None] = asyncio.Queue()

        async def on_stream(stream: ByteStream) -> None:
            link = await accept(stream, identity(1), known, settings=SETTINGS)
            echo(link)
            await link.wait_closed()
            ended.put_nowait(link.error)

        async with server(files["one"], on_stream) as port:
            link = await link_to(port, files["zero"])
            await link._stream.close()
            assert "without notice" in str(await asyncio.wait_for(ended.get(), 3))
            await link.close()
            link = await link_to(port, files["zero"])
            await link.close()
            assert await asyncio.wait_for(ended.get(), 3) is None

    run(main())

"""Links over real sockets: granian, pyreqwest, mutual TLS."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numba
import pytest
import uvloop
from fastapi import FastAPI
from pyreqwest.client import ClientBuilder

from libmpc.errors import ConfigError
from libmpc.link import ByteStream, Inbox, Link, LinkError, accept, connect
from libmpc.runtime import warm_up
from services.common.http2_client import connect_stream
from services.common.http2_server import Http2Server, LinkEndpoint, mount
from services.common.memory import forget_compiler, keep_large_buffers
from services.common.tls import TlsFiles
from tests.link.support import identity, known, remote
from tests.services.certificates import make_certificates
from tests.services.link_server import ECHO, SETTINGS, SINK, TOTAL, echo

ROOT = Path(__file__).parents[2]
BULK = random.Random(8).randbytes(3_000_000)
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    return make_certificates(tmp_path_factory.mktemp("tls"), ["zero", "one"])


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    """Certificates of CAs that nobody in ``files`` trusts."""
    return make_certificates(tmp_path_factory.mktemp("strangers"), ["eve"])


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    loop = asyncio.run if request.param == "asyncio" else uvloop.run

    def start(main: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(main, 30)

        loop(bounded())

    return start


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def url(port: int, scheme: str = "https") -> str:
    return f"{scheme}://127.0.0.1:{port}"


async def serve_echo(stream: ByteStream) -> None:
    link = await accept(stream, identity(1), known, settings=SETTINGS)
    echo(link)
    await link.wait_closed()


@asynccontextmanager
async def server(
    tls: TlsFiles | None, on_stream: Callable[[ByteStream], Any] = serve_echo
) -> AsyncIterator[int]:
    """Party 1 in this process; gives the port."""
    app = FastAPI()

    @app.get("/v1/plain")
    def plain() -> dict[str, str]:
        return {"still": "works"}

    endpoint = LinkEndpoint(on_stream)
    mount(app, endpoint)
    port = free_port()
    http = Http2Server(app, "127.0.0.1", port, tls, endpoint=endpoint)
    await http.start()
    try:
        yield port
    finally:
        begun = time.monotonic()
        await http.stop()
        assert time.monotonic() - begun < 3


async def link_to(port: int, tls: TlsFiles | None) -> Link:
    stream = await connect_stream(url(port, "https" if tls else "http"), tls)
    return await connect(stream, identity(0), remote(identity(1)), settings=SETTINGS)


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


def test_plain_routes_beside_the_link(files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        async with server(None) as port:
            client = ClientBuilder().no_proxy().http2_prior_knowledge().build()
            answer = await client.get(f"{url(port, 'http')}/v1/plain").build().send()
            assert await answer.json() == {"still": "works"}
            answer = await client.get(f"{url(port, 'http')}/link/v1").build().send()
            assert answer.status == 405
            await client.close()

    asyncio.run(main())


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


def test_stopping_is_bounded_although_a_request_hangs() -> None:
    async def main() -> None:
        app = FastAPI()
        reached = asyncio.Event()

        @app.get("/hang")
        async def hang() -> None:
            reached.set()
            await asyncio.sleep(60)

        port = free_port()
        http = Http2Server(app, "127.0.0.1", port, None)
        await http.start()
        asking = asyncio.ensure_future(get(port))
        await reached.wait()
        begun = time.monotonic()
        await http.stop()
        assert time.monotonic() - begun < 3.5
        asking.cancel()
        # The port is free again, at once.
        again = Http2Server(app, "127.0.0.1", port, None)
        await again.start()
        await again.stop()

    async def get(port: int) -> None:
        client = ClientBuilder().no_proxy().http2_prior_knowledge().build()
        await client.get(f"{url(port, 'http')}/hang").build().send()

    asyncio.run(main())


def test_a_port_in_use_is_an_error_that_says_so() -> None:
    async def main() -> None:
        async with server(None) as port:
            second = Http2Server(FastAPI(), "127.0.0.1", port, None)
            with pytest.raises(ConfigError, match=f"port {port} is in use"):
                await second.start()
            await second.stop()
            everywhere = Http2Server(FastAPI(), "0.0.0.0", port, None)
            with pytest.raises(ConfigError, match=f"port {port} is in use"):
                await everywhere.start()

    asyncio.run(main())


def test_a_client_without_a_certificate_is_refused(files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        async with server(files["one"]) as port:
            context = ssl.create_default_context(cafile=str(files["zero"].ca))
            context.set_alpn_protocols(["h2"])
            with pytest.raises((ssl.SSLError, ConnectionError)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                # With TLS 1.3 the client learns of it when it reads.
                assert not await reader.read(1)
                raise ConnectionError

    asyncio.run(main())


def test_strangers_are_refused_on_both_sides(
    files: dict[str, TlsFiles], strangers: dict[str, TlsFiles]
) -> None:
    eve = strangers["eve"]
    calls: list[ByteStream] = []

    async def on_stream(stream: ByteStream) -> None:
        calls.append(stream)

    async def main() -> None:
        async with server(files["one"], on_stream) as port:
            trusting = TlsFiles(eve.certificate, eve.key, files["zero"].ca)
            with pytest.raises(LinkError, match=f"127.0.0.1:{port}"):
                await connect_stream(url(port), trusting)
        async with server(eve, on_stream) as port:
            with pytest.raises(LinkError, match=f"127.0.0.1:{port}") as caught:
                await connect_stream(url(port), files["zero"])
            assert "ertificate" in caught.value.reason
        assert calls == []

    asyncio.run(main())


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


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:1", "https://"])
def test_urls_that_do_not_fit_the_files(files: dict[str, TlsFiles], address: str) -> None:
    with pytest.raises(ConfigError, match="https://host:port"):
        asyncio.run(drop(connect_stream(address, files["zero"])))


async def drop(work: Coroutine[Any, Any, object]) -> None:
    await work


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


@pytest.mark.parametrize("part", ["certificate", "key", "ca"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_unusable_files_are_named(
    files: dict[str, TlsFiles], tmp_path: Path, part: str, content: bytes | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    good = files["zero"]
    parts = {"certificate": good.certificate, "key": good.key, "ca": good.ca, part: path}
    bad = TlsFiles(**parts)

    async def main() -> None:
        http = Http2Server(FastAPI(), "127.0.0.1", free_port(), bad)
        await http.start()

    with pytest.raises(ConfigError, match=str(path)):
        asyncio.run(main())
    with pytest.raises(ConfigError, match=str(path)):
        asyncio.run(drop(connect_stream(url(1), bad)))


def test_a_key_of_another_certificate_is_found(
    files: dict[str, TlsFiles], strangers: dict[str, TlsFiles]
) -> None:
    good = files["zero"]
    with pytest.raises(ConfigError, match="do not make a pair"):
        TlsFiles(good.certificate, strangers["eve"].key, good.ca).check()


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


def test_large_buffers_are_kept() -> None:
    assert keep_large_buffers() is (
        sys.platform == "linux" and bool(os.confstr("CS_GNU_LIBC_VERSION"))
    )


def test_the_compiler_comes_back_when_it_is_called() -> None:
    warm_up()
    assert (forget_compiler() > 1 << 20) is (sys.platform == "linux")
    assert numba.njit([(numba.uint64,)])(lambda x: x * x)(3) == 9

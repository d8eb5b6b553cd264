"""A party's HTTP/2 side in this process, and what tests of it need."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

from libmpc.link import ByteStream, Link, accept, connect
from services.common.http2 import Http2Server, LinkEndpoint, connect_stream, mount
from services.common.tls import TlsFiles
from tests.link.support import identity, known, remote
from tests.services.link_server import SETTINGS, echo

Run = Callable[[Coroutine[Any, Any, None]], None]


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


def make_app() -> FastAPI:
    """Ordinary routes, and the link route's refusal."""
    app = FastAPI()

    @app.get("/v1/plain")
    def plain() -> dict[str, str]:
        return {"still": "works"}

    @app.post("/v1/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.get("/v1/long")
    def long(length: int) -> str:
        return "x" * length

    @app.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError("a secret share")

    mount(app)
    return app


@asynccontextmanager
async def server(
    tls: TlsFiles | None, on_stream: Callable[[ByteStream], Any] = serve_echo
) -> AsyncIterator[int]:
    """Party 1; gives the port."""
    http = Http2Server(make_app(), "127.0.0.1", 0, tls, endpoint=LinkEndpoint(on_stream))
    await http.start()
    try:
        yield http.port
    finally:
        begun = time.monotonic()
        await http.stop()
        assert time.monotonic() - begun < 3


async def link_to(port: int, tls: TlsFiles | None) -> Link:
    stream = await connect_stream(url(port, "https" if tls else "http"), tls)
    return await connect(stream, identity(0), remote(identity(1)), settings=SETTINGS)


class Collector:
    """A sink that keeps everything.

    Attributes:
        data: what has arrived.
        ended: set by the end, with its error.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()

    def on_data(self, chunk: bytes | bytearray | memoryview) -> None:
        self.data += chunk
        self.arrived.set()

    def on_end(self, error: Exception | None) -> None:
        self.ended.set_result(error)

    async def have(self, size: int) -> None:
        """Return when that many bytes have arrived."""
        while len(self.data) < size:
            self.arrived.clear()
            await self.arrived.wait()

"""Ordinary requests beside links: an ASGI application over HTTP/2."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from libmpc.errors import ConfigError
from services.common.http2 import Http2Server
from services.common.http2.limits import MAX_BODY_BYTES
from services.common.tls import TlsFiles
from tests.services.http2 import Run, free_port, server, url


def client_of(port: int, tls: TlsFiles | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url(port, "http" if tls is None else "https"),
        http1=False,
        http2=True,
        timeout=20,
        verify=True if tls is None else tls.client_context(),
    )


@pytest.mark.parametrize("secure", [True, False])
def test_ordinary_routes(run: Run, files: dict[str, TlsFiles], secure: bool) -> None:
    zero, one = (files["zero"], files["one"]) if secure else (None, None)

    async def main() -> None:
        async with server(one) as port, client_of(port, zero) as client:
            answer = await client.get("/v1/plain")
            assert answer.json() == {"still": "works"}
            assert answer.http_version == "HTTP/2"
            assert (await client.get("/openapi.json")).json()["paths"].keys() >= {"/v1/plain"}
            assert (await client.get("/nowhere")).status_code == 404
            for method, path in (("HEAD", "/v1/plain"), ("GET", "/link/v1"), ("PUT", "/v1/size")):
                answer = await client.request(method, path)
                assert answer.status_code == 405
                assert bool(answer.content) == (method != "HEAD") == (path != "/v1/plain")
            # A link is the first request of its connection, and the only one.
            assert (await client.post("/link/v1", content=b"x")).status_code == 421

    run(main())


def test_many_requests_at_once_on_one_connection(run: Run) -> None:
    async def main() -> None:
        async with server(None) as port, client_of(port) as client:
            lengths = [*range(20), 70_000, 3_000_000, *range(20)]
            asked = [client.get("/v1/long", params={"length": n}) for n in lengths]
            answers = await asyncio.gather(*asked)
            assert [len(answer.json()) for answer in answers] == lengths

    run(main())


@pytest.mark.parametrize("size", [0, 1, 5000, MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 1_000_000])
@pytest.mark.parametrize("announced", [True, False])
def test_bodies_are_bounded(size: int, announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 10_000):
            yield bytes(min(10_000, size - start))

    async def main() -> None:
        async with server(None) as port, client_of(port) as client:
            for _ in range(2):  # the connection is still of use afterwards
                content = bytes(size) if announced else pieces()
                answer = await client.post("/v1/size", content=content)
                if size <= MAX_BODY_BYTES:
                    assert answer.json() == size
                else:
                    assert answer.status_code == 413

    asyncio.run(main())


def test_an_error_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "services")

    async def main() -> None:
        async with server(None) as port, client_of(port) as client:
            answer = await client.get("/v1/broken")
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert (await client.get("/v1/plain")).status_code == 200

    asyncio.run(main())
    assert "RuntimeError at http2.py" in caplog.text
    assert "a secret share" not in caplog.text


def test_a_request_ends_when_its_client_goes_away(run: Run) -> None:
    async def main() -> None:
        app = FastAPI()
        reached, ended = asyncio.Event(), asyncio.Event()

        @app.get("/hang")
        async def hang() -> None:
            reached.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()

        http = Http2Server(app, "127.0.0.1", 0, None)
        await http.start()
        async with client_of(http.port) as client:
            asking = asyncio.ensure_future(client.get("/hang"))
            await reached.wait()
            asking.cancel()
        await ended.wait()
        await http.stop()

    run(main())


def test_stopping_is_bounded_although_a_request_hangs(run: Run) -> None:
    async def main() -> None:
        app = FastAPI()
        reached = asyncio.Event()

        @app.get("/hang")
        async def hang() -> None:
            reached.set()
            await asyncio.get_running_loop().create_future()

        port = free_port()
        http = Http2Server(app, "127.0.0.1", port, None)
        await http.start()
        async with client_of(port) as client:
            asking = asyncio.ensure_future(client.get("/hang"))
            await reached.wait()
            begun = time.monotonic()
            await http.stop()
            assert time.monotonic() - begun < 3
            with pytest.raises(httpx.TransportError):
                await asking
        # The port is free again, at once.
        again = Http2Server(app, "127.0.0.1", port, None)
        await again.start()
        await again.stop()

    run(main())


def test_a_port_in_use_is_an_error_that_says_so() -> None:
    async def main() -> None:
        async with server(None) as port:
            for host in ("127.0.0.1", "0.0.0.0"):
                second = Http2Server(FastAPI(), host, port, None)
                with pytest.raises(ConfigError, match=f"port {port} is in use"):
                    await second.start()
                await second.stop()

    asyncio.run(main())


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(files: dict[str, TlsFiles]) -> None:
    zero = files["zero"]
    if "HTTP2" not in subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout:
        pytest.skip("this curl has no HTTP/2")

    async def ask(*arguments: str) -> str:
        command = ["curl", "-sS", "--max-time", "10", *arguments]
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        return (await child.communicate())[0].decode()

    async def main() -> None:
        own = ("--cert", str(zero.certificate), "--key", str(zero.key), "--cacert", str(zero.ca))
        async with server(files["one"]) as port:
            text = await ask(*own, "-w", " %{http_version}", f"{url(port)}/v1/plain")
            assert text == '{"still":"works"} 2'
            status = await ask(*own, "-o", "/dev/null", "-w", "%{http_code}", "-I", url(port))
            assert status == "404"
        async with server(None) as port:
            address = f"{url(port, 'http')}/v1/plain"
            assert await ask("--http2-prior-knowledge", address) == '{"still":"works"}'

    asyncio.run(main())

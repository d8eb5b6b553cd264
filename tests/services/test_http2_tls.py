"""Who gets a connection: certificates on both sides, and files that cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from libmpc.errors import ConfigError
from libmpc.link import ByteStream, LinkError
from services.common.http2 import Http2Server, connect_stream
from services.common.tls import TlsFiles
from services.party.app import make_app as party_app
from tests.services.http2 import free_port, server, url
from tests.services.raw import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    frame,
    raw,
)


def test_a_client_without_a_certificate_is_refused(files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        async with server(files["one"]) as port:
            context = ssl.create_default_context(cafile=str(files["zero"].ca))
            context.set_alpn_protocols(["h2"])
            # With TLS 1.3 the client learns of it when it reads.
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                async with raw(port, context) as client:
                    client.write(PREFACE, frame(SETTINGS, 0, 0))
                    await client.read()

    asyncio.run(main())


PARTY_ROUTES = {("GET", "/v1/status"), ("GET", "/openapi.json"), ("POST", "/link/v1")}


def test_no_route_of_a_party_answers_without_a_certificate(files: dict[str, TlsFiles]) -> None:
    nobody: Any = None  # the routes that are let in here ask no node
    app = party_app(nobody)
    assert {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    } == PARTY_ROUTES
    assert all(isinstance(route, Route) for route in app.routes)

    async def ask(port: int, context: ssl.SSLContext, method: str, path: str) -> None:
        """Return when the route has answered."""
        async with raw(port, context) as client:
            end = END_HEADERS | END_STREAM
            client.write(PREFACE, frame(SETTINGS, 0, 0), client.request(1, method, path, end))
            await client.until(HEADERS)

    async def main() -> None:
        http = Http2Server(app, "127.0.0.1", 0, files["one"])
        await http.start()
        try:
            without = ssl.create_default_context(cafile=str(files["zero"].ca))
            without.set_alpn_protocols(["h2"])
            for method, path in PARTY_ROUTES:
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await ask(http.port, without, method, path)
            await ask(http.port, files["zero"].client_context(), "GET", "/openapi.json")
        finally:
            await http.stop()

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


def test_failed_handshakes_take_no_place(
    files: dict[str, TlsFiles], strangers: dict[str, TlsFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.common.http2.server_connection.MAX_CONNECTIONS", 1)
    eve = strangers["eve"]

    async def main() -> None:
        async with server(files["one"]) as port:
            for _ in range(3):
                with pytest.raises(LinkError):
                    await connect_stream(url(port), eve)
                with pytest.raises(LinkError):
                    await connect_stream(url(port, "http"), None)
            stream = await connect_stream(url(port), files["zero"])
            await stream.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1", "127.0.0.1:1", "https://", "https://a:x", "https://a:99999"]
)
def test_urls_that_do_not_fit_the_files(files: dict[str, TlsFiles], address: str) -> None:
    with pytest.raises(ConfigError, match="https://host:port"):
        asyncio.run(drop(connect_stream(address, files["zero"])))


async def drop(work: Coroutine[Any, Any, object]) -> None:
    await work


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

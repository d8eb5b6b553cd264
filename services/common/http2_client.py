"""HTTP/2 from one service to another: a full-duplex stream as one long ``POST``."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from libmpc.errors import ConfigError
from libmpc.link import Buffer, ByteStream, LinkError
from services.common.tls import TlsFiles

_WINDOW = 1 << 30
_FRAME = 1 << 20
_CLOSE_SECONDS = 0.3
# Bytes handed to the client library ahead of what it has asked for.
_AHEAD = 1 << 20


class _Body:
    """The request's body: what is put in comes out, until the end."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    async def put(self, data: Buffer) -> None:
        self._pieces.append(cast(bytes, data))  # any buffer will do
        self._size += len(data)
        self._filled.set()
        while self._size > _AHEAD and not self._ended:
            self._taken.clear()
            await self._taken.wait()

    def end(self) -> None:
        self._ended = True
        self._filled.set()
        self._taken.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while not self._pieces:
                if self._ended:
                    return
                self._filled.clear()
                await self._filled.wait()
            piece = self._pieces.popleft()
            self._size -= len(piece)
            self._taken.set()
            yield piece


class _ClientStream:
    """The client's end of one request, with a connection of its own."""

    def __init__(self, name: str, client: Client, body: _Body) -> None:
        self._name = name
        self._client = client
        self._body = body
        self._request: StreamRequest | None = None
        self._response: Response | None = None
        self._closed = False

    async def open(self, request: StreamRequest) -> None:
        response = await request.__aenter__()
        self._request = request
        self._response = response
        if response.status != 200:
            raise LinkError(f"{self._name} answered {response.status} to a link")

    async def send(self, data: Buffer) -> None:
        if self._closed:
            raise LinkError("the stream is closed")
        await self._body.put(data)

    async def receive(self) -> Buffer:
        if self._closed or self._response is None:
            return b""
        try:
            chunk = await self._response.body_reader.read_chunk()
        except PyreqwestError as error:
            raise LinkError(
                f"the connection to {self._name} broke", reason=_explain(error)
            ) from None
        return cast(Buffer, chunk) if chunk is not None else b""

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._body.end()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                if self._request is not None:
                    await self._request.__aexit__(None, None, None)
                await self._client.close()


async def connect_stream(
    url: str, tls: TlsFiles | None, *, path: str = "/link/v1", timeout: float = 3.0
) -> ByteStream:
    """Open a full-duplex stream to the service at ``url``.

    Args:
        url: scheme, host and port, such as ``https://party0.example:8443``.
        tls: own certificate, and the roots to trust; ``None`` for clear text (``http``).
        timeout: seconds until the other side's answer has begun.

    Raises:
        ConfigError: the URL and the files do not go together, or cannot be used.
        LinkError: nobody answers there, or not as a party does; names host and port.
    """
    parts = urlsplit(url)
    if parts.scheme != ("http" if tls is None else "https") or not parts.hostname:
        raise ConfigError(f"{url!r} is no URL of a service; expected https://host:port")
    name = parts.netloc
    body = _Body()
    # 10 ms, for reading the system's roots, which cannot be switched off; who the peer is, the
    # handshake of the link decides.
    client = await asyncio.to_thread(_build, tls, timeout)
    stream = _ClientStream(name, client, body)
    request = (
        client.post(url.rstrip("/") + path)
        .header("content-type", "application/octet-stream")
        .body_stream(body)
        # Otherwise the library reads ahead before it lets go of the response: a deadlock.
        .streamed_read_buffer_limit(0)
        .build_streamed()
    )
    try:
        async with asyncio.timeout(timeout):
            await stream.open(request)
    except TimeoutError:
        await stream.close()
        raise LinkError(f"{name} does not answer within {timeout:g} s") from None
    except PyreqwestError as error:
        await stream.close()
        raise LinkError(f"cannot reach {name}", reason=f"{name}: {_explain(error)}") from None
    except BaseException:
        await stream.close()
        raise
    return stream


def _build(tls: TlsFiles | None, timeout: float) -> Client:
    builder = (
        ClientBuilder()
        .no_proxy()
        .follow_redirects(enable=False)
        .connect_timeout(timedelta(seconds=timeout))
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(_WINDOW)
        .http2_initial_connection_window_size(_WINDOW)
        .http2_max_frame_size(_FRAME)
        .http2_keep_alive_interval(timedelta(seconds=3))
        .http2_keep_alive_timeout(timedelta(seconds=3))
        .http2_keep_alive_while_idle(enabled=True)
    )
    try:
        if tls is not None:
            tls.check()
            identity = tls.certificate.read_bytes() + b"\n" + tls.key.read_bytes()
            builder = builder.https_only(enable=True).identity_pem(identity)
            for root in _certificates(tls.ca.read_bytes()):
                builder = builder.add_root_certificate_pem(root)
        return builder.build()
    except (PyreqwestError, ValueError) as error:
        raise ConfigError(f"cannot use the TLS files: {error}") from None


def _certificates(bundle: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----"
    return [part + end + b"\n" for part in bundle.split(end)[:-1]]


def _explain(error: PyreqwestError) -> str:
    details = getattr(error, "details", None) or {}
    causes = [cause["message"] for cause in details.get("causes") or []]
    return ": ".join([error.message, *causes])

"""HTTP/2 for parties: granian inside the running event loop, and the full-duplex link route.

Both directions of a link are the two bodies of one ``POST /link/v1``, which lasts as long as the
link. The route is a plain ASGI application: Starlette's ``StreamingResponse`` waits for a
disconnect on the same ``receive`` and swallows the request's body.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP2Settings
from granian.server.embed import Server
from starlette.applications import Starlette
from starlette.routing import Route

from libmpc.errors import ConfigError
from libmpc.failure import describe
from libmpc.link import Buffer, ByteStream, LinkError
from services.common.tls import TlsFiles

logger = logging.getLogger(__name__)

LINK_PATH = "/link/v1"
STOP_SECONDS = 2.5
START_SECONDS = 5.0
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
OnStream = Callable[[ByteStream], Awaitable[None]]

# At granian's default frames of 16 KiB, bulk falls to a quarter.
_HTTP2 = HTTP2Settings(
    initial_connection_window_size=16 << 20,
    initial_stream_window_size=16 << 20,
    max_frame_size=1 << 20,
    max_concurrent_streams=1024,
    keep_alive_interval=5_000,
    keep_alive_timeout=5,
)


class _ServerStream:
    """The server's end of one request."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._ended = False
        self._closed = False

    async def begin(self) -> None:
        headers = [(b"content-type", b"application/octet-stream")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        # granian sends the head with the first piece of the body only.
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    async def send(self, data: Buffer) -> None:
        # granian takes what is sent after a disconnect without a word.
        if self._closed or self._ended:
            raise LinkError("the stream is closed")
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def receive(self) -> Buffer:
        while not (self._closed or self._ended):
            event = await self._receive()
            self._ended = event["type"] != "http.request" or not event.get("more_body", False)
            body: bytes = event.get("body", b"")
            if body:  # an empty piece is no end
                return body
        return b""

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(Exception):
                end = {"type": "http.response.body", "body": b"", "more_body": False}
                await self._send(end)


class LinkEndpoint:
    """The ASGI application behind ``LINK_PATH``.

    Args:
        on_stream: called with each new stream, in a task of its own; when it returns or raises,
            the stream is closed.
    """

    def __init__(self, on_stream: OnStream) -> None:
        self._on_stream = on_stream
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._closing or scope["http_version"] != "2":
            status = 503 if self._closing else 505
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        # granian runs an application outside of asyncio's tasks, where timeouts and
        # cancellation do not work.
        task = asyncio.ensure_future(self._serve(_ServerStream(receive, send)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task})

    async def _serve(self, stream: _ServerStream) -> None:
        try:
            await stream.begin()
            await self._on_stream(stream)
        except LinkError as error:
            logger.info("peer stream ended: %s", error.reason)
        except Exception as error:  # noqa: BLE001 - a stream must not end the server
            logger.error("peer stream failed: %s", describe(error))
        finally:
            await stream.close()

    async def close(self) -> None:
        """End all streams and take no more; within a second."""
        self._closing = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def mount(app: Starlette, endpoint: LinkEndpoint) -> None:
    """Add the link route to an application (FastAPI is one).

    ``BaseHTTPMiddleware``, which ``@app.middleware("http")`` makes, would break the full duplex.
    """
    app.router.routes.insert(0, Route(LINK_PATH, endpoint, methods=["POST"]))


class Http2Server:
    """One listening port. Installs no signal handlers; lifespan events are not sent.

    Args:
        app: any ASGI application.
        host: address to listen on.
        port: port to listen on.
        tls: own certificate, and whose client certificates to ask for; ``None`` for clear text.
        endpoint: the link route in ``app``, if any: its streams end before the server does.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        tls: TlsFiles | None,
        *,
        endpoint: LinkEndpoint | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._endpoint = endpoint
        if tls is not None:
            tls.check()
        files: dict[str, Any] = {}
        if tls is not None:
            # SECURITY: mutual TLS, so that strangers do not get as far as the handshake.
            files = {
                "ssl_cert": tls.certificate,
                "ssl_key": tls.key,
                "ssl_ca": tls.ca,
                "ssl_client_verify": True,
            }
        try:
            self._server = Server(
                app,
                address=host,
                port=port,
                interface=Interfaces.ASGINL,
                http=HTTPModes.http2 if tls is None else HTTPModes.auto,
                http2_settings=_HTTP2,
                websockets=False,
                log_enabled=False,
                **files,
            )
        except Exception as error:  # noqa: BLE001  granian raises whatever it met
            raise ConfigError(f"cannot use the TLS files: {error}") from None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns once connections are accepted.

        Raises:
            ConfigError: the port is in use or not allowed, or a file cannot be used.
        """
        self._check_port()
        self._task = asyncio.ensure_future(self._server.serve())
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    await asyncio.sleep(0.01)
                    # granian's worker only logs why it ended; the task is over all the same.
                    if self._task.done():
                        raise self._failure()
                    if await self._accepts():
                        return
        except TimeoutError:
            await self.stop()
            raise ConfigError(
                f"the server on port {self._port} accepts no connection {START_SECONDS:g} s after"
                " its start; look at the address to listen on"
            ) from None

    async def wait(self) -> None:
        """Return when the server has stopped; raises ConfigError when it failed."""
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled() and self._task.exception() is not None:
                raise self._failure()

    async def stop(self) -> None:
        """End the streams of peers, then the server. Idempotent; takes at most 3.5 s."""
        if self._endpoint is not None:
            await self._endpoint.close()
        if self._task is None:
            return
        self._server.stop()  # type: ignore[no-untyped-call]
        done, _ = await asyncio.wait({self._task}, timeout=STOP_SECONDS)
        if not done:
            logger.warning("requests still running after %g s were cut off", STOP_SECONDS)
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.5)

    def _check_port(self) -> None:
        """granian listens with SO_REUSEPORT: a second server would silently share the port."""
        address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address[4])
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {self._host}: port {self._port} is in use or not allowed"
                    f" ({error.strerror}); stop what uses it or choose another port"
                ) from None

    async def _accepts(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        try:
            _, writer = await asyncio.open_connection(host, self._port)
        except OSError:
            return False
        writer.close()
        return True

    def _failure(self) -> ConfigError:
        assert self._task is not None
        error = None if self._task.cancelled() else self._task.exception()
        return ConfigError(
            f"the server on port {self._port} ended: {error!r}; look at its address and TLS files"
        )

"""HTTP/1.1: uvicorn inside the running event loop, where the caller owns signals and the socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from libmpc.errors import ConfigError
from services.common.http1_connection import CLOSING_SECONDS, Http1Connection
from services.common.listen import listen
from services.common.tls import TlsFiles

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1
KEEP_ALIVE_SECONDS = 75
HANDSHAKE_SECONDS = 5.0
_TICKS_PER_LOOK = 10  # of 0.1 s


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; uvicorn's own has no bound on the time of a TLS handshake."""
        secured = self.config.ssl is not None
        self.servers = [
            await asyncio.get_running_loop().create_server(
                self._connection,
                sock=listener,
                ssl=self.config.ssl,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if secured else None,
                ssl_shutdown_timeout=CLOSING_SECONDS if secured else None,
            )
            for listener in sockets or ()
        ]
        self.started = True

    def _connection(self) -> asyncio.Protocol:
        return Http1Connection(config=self.config, server_state=self.server_state, app_state={})

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_LOOK == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Http1Connection):
                    connection.look(now)
        return await super().on_tick(counter)


class Http1Server:
    """One listening port.

    Args:
        app: any ASGI application; lifespan events are not sent.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        tls: own certificate and key (clients need none); ``None`` for clear text.

    Raises:
        ConfigError: the port is in use or not allowed, or a TLS file cannot be used.
    """

    def __init__(self, app: Any, host: str, port: int, tls: TlsFiles | None = None) -> None:
        files: dict[str, Any] = {}
        if tls is not None:
            tls.check()
            files = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            **files,
        )
        try:
            config.load()
        except OSError as error:  # SSLError is one
            raise ConfigError(f"cannot use the TLS files: {error}") from None
        # uvicorn would log a port in use and call sys.exit; so the socket is made here.
        self._socket = listen(host, port)
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Answer requests from now on."""
        self._task = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))

    def renew(self, tls: TlsFiles) -> None:
        """Show another certificate in connections that begin from now on.

        Raises:
            ConfigError: a file cannot be used.
        """
        tls.check()
        context = self._server.config.ssl
        assert context is not None
        context.load_cert_chain(tls.certificate, tls.key)

    async def wait(self) -> None:
        """Return when the server has stopped; raises what it failed with."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Take no more connections, let requests finish for a second, end. Idempotent."""
        self._server.should_exit = True
        if self._task is None:
            self._socket.close()
            return
        done, _ = await asyncio.wait({self._task}, timeout=GRACE_SECONDS + 1)
        if not done:
            self._task.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await self._task

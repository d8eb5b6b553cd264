"""HTTP/2 in the running event loop: links, and ordinary requests for an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

from services.common.http2.asgi import Application
from services.common.http2.endpoint import LinkEndpoint
from services.common.http2.limits import OPENING_SECONDS
from services.common.http2.server_connection import ServerConnection
from services.common.listen import listen
from services.common.tls import TlsFiles

logger = logging.getLogger(__name__)

REQUESTS_SECONDS = 1.0
CONNECTIONS_SECONDS = 0.7


class Http2Server:
    """One listening port. Installs no signal handlers; lifespan events are not sent.

    Args:
        app: any ASGI application.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        tls: own certificate, and whose client certificates to ask for; ``None`` for clear text,
            where clients must begin with HTTP/2 (prior knowledge).
        endpoint: takes links.

    Raises:
        ConfigError: a file cannot be used.
    """

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        tls: TlsFiles | None,
        *,
        endpoint: LinkEndpoint | None = None,
    ) -> None:
        self._app = app
        self._address = (host, port)
        self._context = None if tls is None else tls.server_context()
        self._endpoint = endpoint
        self._connections: dict[ServerConnection, None] = {}
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def listen(self) -> None:
        """Take the port; whoever knocks waits for ``start``, and need not come again.

        Raises:
            ConfigError: the port is in use or not allowed.
        """
        self._socket = listen(*self._address)

    async def start(self) -> None:
        """Accept connections; takes the port, if ``listen`` has not.

        Raises:
            ConfigError: the port is in use or not allowed.
        """
        if self._socket is None:
            self.listen()
        assert self._socket is not None
        await self._accept(self._socket, self._context)

    async def renew(self, tls: TlsFiles) -> None:
        """Use other TLS files for connections that begin from now on; the others go on.

        Raises:
            ConfigError: a file cannot be used; nothing has changed.
        """
        context, old = tls.server_context(), self._server
        self._context = context
        if old is None:  # ``start`` takes it
            return
        assert self._socket is not None
        # The same socket, so that nobody who knocks meanwhile is turned away. A new context, since
        # an authority cannot be taken out of one that is in use.
        await self._accept(self._socket.dup(), context)
        old.close()

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=listening,
            ssl=context,
            ssl_handshake_timeout=None if context is None else OPENING_SECONDS,
        )
        self._socket = listening

    def _connection(self) -> asyncio.Protocol:
        return ServerConnection(self._app, self._endpoint, self._connections)

    async def stop(self) -> None:
        """End the streams of peers, then the rest. Idempotent; takes at most 3 s."""
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()
        if self._endpoint is not None:
            await self._endpoint.close()
        connections = set(self._connections)
        tasks = {task for each in connections for task in each.requests.tasks.values()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=REQUESTS_SECONDS)
            if late:
                logger.warning("requests after %g s were cut off", REQUESTS_SECONDS)
        if connections:
            ends = [asyncio.ensure_future(each.finish()) for each in connections]
            await asyncio.wait(ends, timeout=CONNECTIONS_SECONDS)

"""A link's stream to another service: one connection, one long ``POST``."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from h2.events import ConnectionTerminated, Event, ResponseReceived, StreamReset

from libmpc.errors import ConfigError
from libmpc.link import ByteStream, LinkError
from services.common.http2.connection import Connection
from services.common.http2.endpoint import LINK_PATH
from services.common.tls import TlsFiles


class ClientConnection(Connection):
    """The client's end.

    Args:
        name: host and port, as in the URL.
        scheme: ``https`` or ``http``.
        path: of the link route.

    Attributes:
        answered: the stream, once the other side has taken it.
    """

    def __init__(self, name: str, scheme: str, path: str) -> None:
        super().__init__(client=True, peer=name)
        self.answered: asyncio.Future[ByteStream] = asyncio.get_running_loop().create_future()
        self._name = name
        self._request = [
            (":method", "POST"),
            (":scheme", scheme),
            (":authority", name),
            (":path", path),
            ("content-type", "application/octet-stream"),
        ]

    def opened(self) -> None:
        self.h2.send_headers(1, self._request)
        self.flush()

    def event(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            status = dict(event.headers)[b":status"].decode("ascii", "replace")
            if status == "200" and not self.answered.done():
                self.answered.set_result(self.start_link(1))
            else:
                self._fail(LinkError(f"{self._name} answered {status} to a link"))
                self.broken(None)
        elif isinstance(event, StreamReset | ConnectionTerminated):
            self.broken(self._broke("it refused the stream"))

    def broken(self, error: LinkError | None) -> None:
        why = "it closed the connection" if error is None else error.reason
        self._fail(LinkError(f"cannot reach {self._name}", reason=f"{self._name}: {why}"))
        super().broken(error)

    def _fail(self, error: LinkError) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.answered.cancel()
        if self._transport is not None:
            self._transport.abort()


async def connect_stream(
    url: str, tls: TlsFiles | None, *, path: str = LINK_PATH, timeout: float = 3.0
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
    scheme, usual = ("http", 80) if tls is None else ("https", 443)
    try:
        port = parts.port or usual
    except ValueError:  # no number of a port
        port = 0
    if parts.scheme != scheme or not parts.hostname or not port:
        raise ConfigError(f"{url!r} is no URL of a service; expected https://host:port")
    name = parts.netloc
    context = None if tls is None else tls.client_context()
    connection = ClientConnection(name, scheme, parts.path.rstrip("/") + path)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                parts.hostname,
                port,
                ssl=context,
                # SECURITY: the certificate must be this host's, not just some service's.
                server_hostname=None if tls is None else parts.hostname,
            )
            return await connection.answered
    except TimeoutError:
        connection.cancel()
        raise LinkError(f"{name} does not answer within {timeout:g} s") from None
    except OSError as error:  # SSLError is one
        raise LinkError(f"cannot reach {name}", reason=f"{name}: {error}") from None
    except asyncio.CancelledError:
        connection.cancel()
        raise

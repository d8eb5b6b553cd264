"""One HTTP/1.1 connection: uvicorn's, with bounds on what a stranger can make it hold or wait for.

uvicorn by itself waits for ever for a request, for the rest of its headers, and for somebody who
does not read an answer; and it takes headers and trailers of any length.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: request line and headers of one request, trailers included
MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 128
#: what is neither head nor body (sizes and extensions of chunks, trailers), beside 8 times the body
MAX_FRAMING_BYTES = 64 << 10
#: requests that may wait for the answer to the one before; uvicorn reads on with every answer
MAX_PIPELINED = 8
#: connections of one port; beyond it the one that has been quiet longest makes room
MAX_CONNECTIONS = 2048
#: seconds from a connection's beginning, or a request's first byte, to the end of its headers
HEAD_SECONDS = 10.0
#: seconds that the rest of a body may take once its request has been answered
REST_SECONDS = 30.0
#: seconds in which a client must take MIN_TAKEN bytes of an answer, or all that is left of it
ANSWER_SECONDS = 30.0
MIN_TAKEN = 64 << 10
#: seconds for the last bytes to leave, and for the client to end its side
CLOSING_SECONDS = 10.0

_TOO_LONG = b"the request's headers are too long"
_NOT_HTTP = b"this is no HTTP/1.1 request"


class _TooMuchError(Exception):
    """Raised through the parser, which then gives the connection up."""


class Http1Connection(HttpToolsProtocol):
    """Counts bytes as they come; ``look``, called every second, ends what takes too long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fed = 0  # since the request began, but for its first piece
        self._head = 0
        self._body = 0
        self._head_open = True
        self._body_open = False
        self._quiet_since: float | None = None  # since when no request is being answered
        self._deadline: float | None = None  # for the end of the headers, or of an unread body
        self._unread = (0.0, 0)  # when a client last took enough of an answer, and what was left
        self._closing_since: float | None = None

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        now = self.loop.time()
        if len(self.connections) >= MAX_CONNECTIONS and not self._make_room():
            transport.abort()
            return
        self._quiet_since, self._deadline = now, now + HEAD_SECONDS
        super().connection_made(transport)

    def _make_room(self) -> bool:
        quiet = [
            (one._quiet_since, id(one), one)
            for one in self.connections
            if isinstance(one, Http1Connection) and one._quiet_since is not None
        ]
        if not quiet:
            return False
        oldest = min(quiet)[2]
        oldest.transport.abort()
        self.connections.discard(oldest)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:  # else it was refused
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self._fed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_open and self._fed > MAX_HEAD_BYTES:
            self.send_400_response(_TOO_LONG.decode())
        elif self._fed - self._body > MAX_HEAD_BYTES + MAX_FRAMING_BYTES + 8 * self._body:
            self.transport.abort()

    # -- what the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._fed = self._head = self._body = 0
        self._head_open = True
        if self._idle:
            self._deadline = self.loop.time() + HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name, value)
        super().on_header(name, value)

    def _count(self, *texts: bytes) -> None:
        self._head += sum(map(len, texts))
        if self._head > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            raise _TooMuchError

    def on_headers_complete(self) -> None:
        self._head_open, self._body_open = False, True
        self._quiet_since = self._deadline = None
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            raise _TooMuchError

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_open = False
        if self._idle:
            self._deadline = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        now = self.loop.time()
        self._quiet_since = now
        if self._body_open:
            self._deadline = now + REST_SECONDS
        elif self._head_open:  # the next request has begun meanwhile
            self._deadline = now + HEAD_SECONDS
        super().on_response_complete()
        if self.pipeline or not self._idle:
            self._quiet_since = None

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        too_long = self._head_open and max(self._fed, self._head) > MAX_HEAD_BYTES
        too_long = too_long or len(self.headers or ()) >= MAX_HEADERS
        status = b"431 Request Header Fields Too Large" if too_long else b"400 Bad Request"
        body = b'{"error": "%b"}' % (_TOO_LONG if too_long else _NOT_HTTP)
        if self._idle:  # else it would look like the answer to the request before
            lines = (
                b"HTTP/1.1 " + status,
                b"content-type: application/json",
                b"content-length: %d" % len(body),
                b"connection: close",
                b"",
                body,
            )
            self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    # -- time

    def look(self, now: float) -> None:
        """End the connection if something has taken too long; ``now`` is the loop's time."""
        transport = self.transport
        if transport.is_closing():
            if self._closing_since is None:
                self._closing_since = now
            elif now - self._closing_since > CLOSING_SECONDS:
                transport.abort()
            return
        left = transport.get_write_buffer_size()
        since, before = self._unread
        if not left or left > before or left <= before - MIN_TAKEN:
            self._unread = now, left
        elif now - since > ANSWER_SECONDS:
            transport.abort()
            return
        if self._deadline is not None and now > self._deadline and self._idle:
            transport.close()

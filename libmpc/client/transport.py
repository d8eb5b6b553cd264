"""A transport for httpx whose requests cost a tenth of a millisecond, not one and a half.

HTTP/1.1 over kept connections, each used by one request at a time. No proxies, no redirects, no
cookies: a client of this library wants none of them from its gateway.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import httpx

from libmpc.client.http1 import IDLE_SECONDS, AnswerReader, encode_head

MAX_CONNECTIONS = 256
_READ_BYTES = 1 << 18


class KeptTransport(httpx.BaseTransport):
    """Blocking. Thread-safe.

    Args:
        context: for https.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._closed = False
        self._idle: dict[tuple[str, str, int | None], list[_Connection]] = {}
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's body is read as it is iterated over.

        Raises:
            httpx.TransportError: by what went wrong, as httpx has it.
        """
        timeout = request.extensions["timeout"]
        if not self._room.acquire(timeout=timeout["pool"]):
            raise httpx.PoolTimeout("all connections are in use", request=request)
        try:
            connection = self._connection(request)
        except BaseException:
            self._room.release()
            raise
        answer = _Answer(self, connection, request)
        try:
            answer.begin()
            reader = answer.reader
            return httpx.Response(reader.status, headers=reader.headers, stream=answer)
        except BaseException:
            answer.close()
            raise

    def _connection(self, request: httpx.Request) -> _Connection:
        url = request.url
        origin = (url.scheme, url.host, url.port)
        idle = self._idle.setdefault(origin, [])
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.usable():
                return connection
            connection.close()
        context = self._context if url.scheme == "https" else None
        return _Connection(request, context, idle)

    def end(self, connection: _Connection, reusable: bool) -> None:
        """A request is over: keep its connection, or close it."""
        if reusable and not self._closed:
            connection.since = time.monotonic()
            connection.idle.append(connection)
        else:
            connection.close()
        self._room.release()

    def close(self) -> None:
        """Close the connections that are not in use; the others follow."""
        self._closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class _Connection:
    def __init__(
        self, request: httpx.Request, context: ssl.SSLContext | None, idle: list[_Connection]
    ) -> None:
        self.idle = idle
        self.since = 0.0
        url, seconds = request.url, request.extensions["timeout"]["connect"]
        default = 443 if url.scheme == "https" else 80
        try:
            self.socket = socket.create_connection((url.host, url.port or default), seconds)
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time", request=request) from None
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                self.socket = context.wrap_socket(self.socket, server_hostname=url.host)
        except TimeoutError:
            self.socket.close()
            raise httpx.ConnectTimeout("no connection in time", request=request) from None
        except OSError as error:  # SSLError is one
            self.socket.close()
            raise httpx.ConnectError(str(error), request=request) from error
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)

    def usable(self) -> bool:
        """Whether nothing has arrived since: that could only be the end."""
        return time.monotonic() - self.since < IDLE_SECONDS and not self._poll.poll(0)

    def close(self) -> None:
        self.socket.close()


class _Answer(httpx.SyncByteStream):
    """One request under way, and the stream of its answer's body."""

    def __init__(
        self, transport: KeptTransport, connection: _Connection, request: httpx.Request
    ) -> None:
        self.reader = AnswerReader(request.method)
        self._transport = transport
        self._connection = connection
        self._request = request
        self._first = b""
        self._over = False
        self._sent = False

    def begin(self) -> None:
        """Send the request and read until the headers are there."""
        request, socket_ = self._request, self._connection.socket
        socket_.settimeout(request.extensions["timeout"]["write"])
        try:
            pending = encode_head(request)
            assert isinstance(request.stream, httpx.SyncByteStream)
            for chunk in request.stream:
                if pending:  # in one segment with a short body
                    chunk, pending = pending + chunk, b""
                socket_.sendall(chunk)
            if pending:
                socket_.sendall(pending)
            self._sent = True
        except TimeoutError:
            raise httpx.WriteTimeout("could not send in time", request=request) from None
        except OSError:
            pass  # a gateway that does not want the rest may have said why
        socket_.settimeout(request.extensions["timeout"]["read"])
        while not self.reader.status:
            self._first += self._read()

    def _read(self) -> bytes:
        try:
            return self.reader.feed(self._connection.socket.recv(_READ_BYTES))
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=self._request) from None
        except OSError as error:
            raise httpx.ReadError(str(error), request=self._request) from error

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        while not self.reader.complete:
            if chunk := self._read():
                yield chunk

    def close(self) -> None:
        """The connection is free for others, unless something of either body is left on it."""
        if not self._over:
            self._over = True
            reusable = self._sent and self.reader.complete and self.reader.reusable
            self._transport.end(self._connection, reusable)

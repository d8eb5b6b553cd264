"""``KeptTransport`` for asyncio."""

from __future__ import annotations

import asyncio
import select
import ssl
import time
from collections.abc import AsyncIterator
from typing import cast

import httpx

from libmpc.client.http1 import IDLE_SECONDS, AnswerReader, encode_head
from libmpc.client.transport import MAX_CONNECTIONS

_HIGH = 1 << 20


class AsyncKeptTransport(httpx.AsyncBaseTransport):
    """For one event loop at a time.

    Args:
        context: for https.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._closed = False
        self._idle: dict[tuple[str, str, int | None], list[_Connection]] = {}
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's body is read as it is iterated over.

        The caller bounds the time for all of it; the time to connect is bounded here.

        Raises:
            httpx.TransportError: by what went wrong, as httpx has it.
        """
        await self._room.acquire()
        try:
            connection = await self._connection(request)
        except BaseException:
            self._room.release()
            raise
        answer = _Answer(self, connection, request)
        try:
            await answer.begin()
            reader = answer.reader
            return httpx.Response(reader.status, headers=reader.headers, stream=answer)
        except BaseException:
            await answer.aclose()
            raise

    async def _connection(self, request: httpx.Request) -> _Connection:
        url, loop = request.url, asyncio.get_running_loop()
        idle = self._idle.setdefault((url.scheme, url.host, url.port), [])
        while idle:
            connection = idle.pop()
            if connection.usable(loop):
                return connection
            connection.close()
        secure = url.scheme == "https"
        try:
            async with asyncio.timeout(request.extensions["timeout"]["connect"]):
                _, made = await loop.create_connection(
                    lambda: _Connection(loop, idle),
                    url.host,
                    url.port or (443 if secure else 80),
                    ssl=self._context if secure else None,
                    server_hostname=url.host if secure else None,
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time", request=request) from None
        except OSError as error:  # SSLError is one
            raise httpx.ConnectError(str(error), request=request) from error
        return made

    def end(self, connection: _Connection, reusable: bool) -> None:
        """A request is over: keep its connection, or close it."""
        if reusable and not self._closed:
            connection.since = time.monotonic()
            connection.idle.append(connection)
        else:
            connection.close()
        self._room.release()

    async def aclose(self) -> None:
        """Close the connections that are not in use; the others follow."""
        self._closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next turn


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop, idle: list[_Connection]) -> None:
        self.idle = idle
        self.since = 0.0
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._lost = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._poll = select.poll()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _HIGH and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def write(self, data: bytes) -> None:
        """Send; returns when there is room for more, or nobody to send to."""
        assert self._transport is not None
        if not self._lost:
            self._transport.write(data)
        # What arrives before the body is sent ends the sending: it can only be a refusal.
        while self._paused and not self._lost and not self._pieces:
            await self._change()

    @property
    def answered(self) -> bool:
        return self._lost or bool(self._pieces)

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        while not self._pieces and not self._lost:
            await self._change()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._size > _HIGH and not self._lost and self._transport is not None:
            self._transport.resume_reading()
        self._size = 0
        return data

    def usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether nothing has arrived since: that could only be the end."""
        if loop is not self._loop or self._lost or self._pieces:
            return False
        # The loop may not have seen yet what the socket has.
        return time.monotonic() - self.since < IDLE_SECONDS and not self._poll.poll(0)

    def close(self) -> None:
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()


class _Answer(httpx.AsyncByteStream):
    """One request under way, and the stream of its answer's body."""

    def __init__(
        self, transport: AsyncKeptTransport, connection: _Connection, request: httpx.Request
    ) -> None:
        self.reader = AnswerReader(request.method)
        self._transport = transport
        self._connection = connection
        self._request = request
        self._first = b""
        self._over = False
        self._sent = False

    async def begin(self) -> None:
        """Send the request and read until the headers are there."""
        connection = self._connection
        pending = encode_head(self._request)
        assert isinstance(self._request.stream, httpx.AsyncByteStream)
        async for chunk in self._request.stream:
            if pending:  # in one segment with a short body
                chunk, pending = pending + chunk, b""
            await connection.write(chunk)
            if connection.answered:
                break
        else:
            self._sent = True
        if pending:
            await connection.write(pending)
        while not self.reader.status:
            self._first += self.reader.feed(await connection.read())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        while not self.reader.complete:
            if chunk := self.reader.feed(await self._connection.read()):
                yield chunk

    async def aclose(self) -> None:
        """The connection is free for others, unless something of either body is left on it."""
        if not self._over:
            self._over = True
            reusable = self._sent and self.reader.complete and self.reader.reusable
            self._transport.end(self._connection, reusable)

"""The stream of a link: both bodies of one HTTP/2 request, with a connection of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from h2.errors import ErrorCodes

from libmpc.link import Buffer, LinkError, Sink
from services.common.http2 import frames
from services.common.http2.limits import LINK_WINDOW, MAX_FRAME_BYTES
from services.common.http2.windows import ReceiveWindow, SendWindow

# One piece for the transport up to here; beyond it, a copy costs more than a second piece.
_JOIN_BYTES = 1 << 16


class Carrier(Protocol):
    """The connection under a stream."""

    @property
    def transport(self) -> asyncio.Transport: ...

    async def finish(self) -> None:
        """Let what was written leave, for a short time, and end the connection."""
        ...


class LinkStream:
    """A ``ByteStream``; made when both sides have sent their headers.

    Args:
        carrier: the connection.
        stream: the request's number.
        send: what the peer allows so far.
        granted: what the peer was allowed so far, on the stream and on the connection.
    """

    def __init__(self, carrier: Carrier, stream: int, send: SendWindow, granted: int) -> None:
        self._carrier = carrier
        self._transport = carrier.transport
        self._stream = stream
        self._send = send
        send.max_frame = min(send.max_frame, MAX_FRAME_BYTES)
        self._receive = ReceiveWindow(LINK_WINDOW)
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._drained = asyncio.Event()
        self._sink: Sink | None = None
        self._paused = False
        self._scheduled = False
        self._held = bytearray()
        self._ended = self._told = self._closed = False
        self._error: LinkError | None = None
        self._grant(LINK_WINDOW - granted)

    # -- sending

    @property
    def unsent(self) -> int:
        if self._closed or self._ended:
            return 0
        return self._waiting_bytes + self._transport.get_write_buffer_size()

    def write(self, data: Buffer) -> None:
        if self._closed or self._ended:
            return
        size = len(data)
        if self._waiting or size > self._send.room:
            self._waiting.append(memoryview(data))
            self._waiting_bytes += size
            self._flush()
        else:
            self._send_frame(data, size)

    def _send_frame(self, data: Buffer, size: int) -> None:
        self._send.spend(size)
        head = frames.head(size, frames.DATA, 0, self._stream)
        if size <= _JOIN_BYTES:
            self._transport.write(b"".join((head, data)))
        else:
            self._transport.writelines((head, data))

    def _flush(self) -> None:
        while self._waiting and self._send.room > 0:
            piece = self._waiting.popleft()
            now, rest = piece[: self._send.room], piece[self._send.room :]
            if rest:
                self._waiting.appendleft(rest)
            self._waiting_bytes -= len(now)
            self._send_frame(now, len(now))
        self._drained.set()

    async def room(self, level: int) -> None:
        while self.unsent > level:
            # Has the transport call ``wake`` as soon as it holds no more than that of the rest.
            rest = max(0, level - self._waiting_bytes)
            self._transport.set_write_buffer_limits(rest, rest)
            self._drained.clear()
            await self._drained.wait()

    def wake(self) -> None:
        """The transport has sent much of what it held."""
        self._drained.set()

    def credit(self, stream: bool, increment: int) -> None:
        """The peer allows more."""
        self._send.credit(stream, increment)
        self._flush()

    def limit_frames(self, size: int) -> None:
        """The peer's longest frame has changed."""
        self._send.max_frame = min(size, MAX_FRAME_BYTES)

    # -- receiving

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        self._told = False
        self._schedule()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._schedule()

    def begin_data(self, length: int) -> None:
        self._receive.arrived(length)

    def data(self, piece: memoryview) -> None:
        if self._sink is None or self._paused or self._held or self._closed:
            # At most a window; in one buffer, lest many small frames take much more than that.
            if not self._closed:
                self._held += piece
            return
        self._sink.on_data(piece)
        self.skipped(len(piece))

    def skipped(self, length: int) -> None:
        """Credit is given for what was consumed only, so a slow reader holds the peer back."""
        self._grant(self._receive.consumed(length))

    def _grant(self, credit: int) -> None:
        if credit and not self._closed:
            update = frames.window_update
            self._transport.write(update(0, credit) + update(self._stream, credit))

    def end(self) -> None:
        """The peer's side has ended."""
        self.fail(None)

    def fail(self, error: LinkError | None) -> None:
        """Nothing more comes and nothing more can be sent, with the reason if there is one."""
        if not self._ended:
            self._ended, self._error = True, error
            self._drop()
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and (self._held or self._ended):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._sink is None or self._paused or self._closed:
            return
        if self._held:
            held, self._held = self._held, bytearray()
            self._sink.on_data(held)
            self.skipped(len(held))
        if self._held:  # only if it paused
            return
        if self._ended and not self._told and not self._paused and not self._closed:
            self._told = True
            self._sink.on_end(self._error)

    # -- the end

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        self._drained.set()

    async def close(self) -> None:
        if not self._closed:
            if not self._ended:
                self._transport.write(self._last_frame())
            self._closed = True
            self._held.clear()
            self._drop()
        await self._carrier.finish()

    def _last_frame(self) -> bytes:
        if self._waiting:
            return frames.reset(self._stream, ErrorCodes.CANCEL)
        return frames.head(0, frames.DATA, frames.END_STREAM, self._stream)

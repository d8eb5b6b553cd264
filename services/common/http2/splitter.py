"""Cuts what a connection receives into frames: a link's data piecewise, all others whole."""

from __future__ import annotations

from typing import Protocol

from h2.errors import ErrorCodes

from services.common.http2.budget import FrameBudget
from services.common.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    PADDED,
    WINDOW_UPDATE,
    Http2Error,
    increment,
    parse_head,
)
from services.common.http2.limits import (
    MAX_FRAME_BYTES,
    MAX_HEADER_BLOCK_BYTES,
    MAX_HELD_FRAME_BYTES,
)


class LinkFrames(Protocol):
    """Who takes the frames of a link's stream."""

    def begin_data(self, length: int) -> None:
        """A DATA frame with ``length`` bytes that count for flow control."""
        ...

    def data(self, piece: memoryview) -> None:
        """A piece of it."""
        ...

    def skipped(self, length: int) -> None:
        """Padding of it has gone by."""
        ...

    def end(self) -> None:
        """The peer's side has ended."""
        ...

    def credit(self, stream: bool, increment: int) -> None:
        """A WINDOW_UPDATE, of the stream or of the connection."""
        ...


class OtherFrames(Protocol):
    """Who takes all others."""

    def frame(self, data: memoryview) -> None:
        """One frame with its head; valid during the call."""
        ...


class Splitter:
    """Fed with chunks of any length; one pass, and DATA of a link is never copied.

    Attributes:
        stopped: set to have the rest ignored.
    """

    def __init__(self, other: OtherFrames) -> None:
        self.stopped = False
        self._other = other
        self._budget = FrameBudget()
        self._link: LinkFrames | None = None
        self._stream = 0
        # a frame, or its head, that has begun, and the length at which it can be read
        self._begun = bytearray()
        self._wanted = 0
        # of the DATA frame that is passing by
        self._data_left = 0
        self._padding_left = 0
        self._ends = False
        # encoded headers so far, while more must follow
        self._block = 0

    def divert(self, stream: int, link: LinkFrames) -> None:
        """From the next frame on, this stream's DATA and all windows are the link's."""
        self._stream, self._link = stream, link

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            Http2Error: they end the connection.
        """
        data: bytes | bytearray = chunk
        if self._begun:
            self._begun += chunk
            if len(self._begun) < self._wanted:
                return
            data, self._begun = self._begun, bytearray()
        view, position, end = memoryview(data), 0, len(data)
        while position < end and not self.stopped:
            if self._data_left or self._padding_left:
                position += self._pass(view[position:])
                continue
            taken = self._frame(view, position, end)
            if not taken:
                self._begun += view[position:]
                return
            position += taken

    def _frame(self, view: memoryview, position: int, end: int) -> int:
        """Take a frame, or the head of a link's DATA; 0 if more bytes are needed."""
        if end - position < HEAD_BYTES:
            self._wanted = HEAD_BYTES
            return 0
        length, kind, flags, stream = parse_head(view, position)
        link = self._link
        if link is not None and kind in (DATA, WINDOW_UPDATE) and not self._block:
            if kind == DATA:
                return self._data_head(view[position:end], length, flags, stream)
            if stream in (0, self._stream):
                return self._window_update(view[position:end], length, stream)
        if length > MAX_HELD_FRAME_BYTES:
            raise Http2Error(ErrorCodes.FRAME_SIZE_ERROR, f"frame of {length} bytes")
        size = HEAD_BYTES + length
        if end - position < size:
            self._wanted = size
            return 0
        self._budget.spend()
        self._count_headers(kind, flags, length)
        self._other.frame(view[position : position + size])
        return size

    def _data_head(self, view: memoryview, length: int, flags: int, stream: int) -> int:
        link = self._link
        assert link is not None
        if stream != self._stream:
            raise Http2Error(ErrorCodes.PROTOCOL_ERROR, "DATA of no stream")
        if self._ends:
            raise Http2Error(ErrorCodes.STREAM_CLOSED, "DATA after the end of the stream")
        if length > MAX_FRAME_BYTES:
            raise Http2Error(ErrorCodes.FRAME_SIZE_ERROR, f"DATA of {length} bytes")
        padding, size = 0, HEAD_BYTES
        if flags & PADDED:
            if not length:
                raise Http2Error(ErrorCodes.FRAME_SIZE_ERROR, "padded DATA without a length")
            size += 1
            if len(view) < size:
                self._wanted = size
                return 0
            padding = view[HEAD_BYTES]
            if padding >= length:
                raise Http2Error(ErrorCodes.PROTOCOL_ERROR, "more padding than DATA")
        if not length:
            self._budget.spend()
        link.begin_data(length)
        if flags & PADDED:
            link.skipped(1)
        self._data_left = length - padding - (size - HEAD_BYTES)
        self._padding_left = padding
        self._ends = bool(flags & END_STREAM)
        if not self._data_left and not padding and self._ends:
            link.end()
        return size

    def _pass(self, view: memoryview) -> int:
        link = self._link
        assert link is not None
        if self._data_left:
            piece = view[: self._data_left]
            self._data_left -= len(piece)
            link.data(piece)
        else:
            piece = view[: self._padding_left]
            self._padding_left -= len(piece)
            link.skipped(len(piece))
        if self._ends and not self._data_left and not self._padding_left and not self.stopped:
            link.end()
        return len(piece)

    def _window_update(self, view: memoryview, length: int, stream: int) -> int:
        link = self._link
        assert link is not None
        size = HEAD_BYTES + 4
        if length == 4 and len(view) < size:
            self._wanted = size
            return 0
        link.credit(stream != 0, increment(view[HEAD_BYTES : HEAD_BYTES + length]))
        return size

    def _count_headers(self, kind: int, flags: int, length: int) -> None:
        if kind in (HEADERS, CONTINUATION):
            self._block += length + 1  # an empty one counts, too
            if self._block > MAX_HEADER_BLOCK_BYTES:
                raise Http2Error(ErrorCodes.ENHANCE_YOUR_CALM, "headers without end")
            if flags & END_HEADERS:
                self._block = 0

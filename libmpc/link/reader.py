"""Bytes of a stream asked for by number, for the few messages of a handshake."""

from __future__ import annotations

import asyncio

from libmpc.link.errors import LinkError
from libmpc.link.stream import Buffer, ByteStream

# More than any handshake has; a peer that sends on meanwhile has to wait.
_LIMIT = 1 << 16


class StreamReader:
    """The sink of ``stream`` until another is attached. One caller of ``take`` at a time."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._ended = False
        self._error: LinkError | None = None
        self._change = asyncio.Event()
        stream.attach(self)

    @property
    def rest(self) -> bytes:
        """What has arrived and was not taken."""
        return bytes(self._buffer)

    async def take(self, size: int) -> bytes:
        """The next ``size`` bytes, at most 65536; fewer where the stream ends before.

        Raises:
            LinkError: the stream is broken.
        """
        while len(self._buffer) < size and not self._ended:
            self._change.clear()
            await self._change.wait()
        if len(self._buffer) < size and self._error is not None:
            raise self._error
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        if len(self._buffer) < _LIMIT:
            self._stream.resume()
        return taken

    def on_data(self, chunk: Buffer) -> None:
        self._buffer += chunk
        if len(self._buffer) >= _LIMIT:
            self._stream.pause()
        self._change.set()

    def on_end(self, error: LinkError | None) -> None:
        self._ended = True
        self._error = error
        self._change.set()

"""What a link has sealed and not yet sent."""

from __future__ import annotations

import asyncio
from collections import deque

from libmpc.link.records import HEADER_BYTES, RECORD_OVERHEAD, Sealer
from libmpc.link.stream import Buffer, ByteStream
from libmpc.link.terms import Traffic

# Small records that wait at the same time leave as one piece.
_COALESCE_BYTES = 1 << 16


class Outbox:
    """Seals at once, in the order of the calls; ``run`` sends in the background.

    So nobody has to wait for the network to keep the order, and who is cancelled while waiting
    leaves no half message behind.

    Args:
        stream: where to.
        sealer: with the key of this direction.
        high_water: bytes queued, beyond which ``room`` waits.

    Attributes:
        traffic: counts bytes on the stream.
        queued: bytes not yet taken by the stream.
        used: set by ``put``; for whoever watches for idleness.
    """

    def __init__(self, stream: ByteStream, sealer: Sealer, high_water: int) -> None:
        self.traffic = Traffic()
        self.queued = 0
        self.used = False
        self._stream = stream
        self._sealer = sealer
        self._high_water = high_water
        self._pieces: deque[Buffer] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._over = False

    def put(self, kind: int, bundle: int, step: int, buffers: tuple[Buffer, ...]) -> int:
        """Seal and queue one message; returns the length of its payload."""
        records = self._sealer.seal(kind, bundle, step, buffers)
        size = sum(map(len, records))
        self._pieces.extend(records)
        self.queued += size
        self.used = True
        self._filled.set()
        return size - HEADER_BYTES - RECORD_OVERHEAD * len(records)

    async def room(self) -> None:
        """Return when at most ``high_water`` bytes are queued, or all is over."""
        await self._at_most(self._high_water)

    async def empty(self) -> None:
        """Return when everything has been sent, or all is over."""
        await self._at_most(0)

    async def _at_most(self, level: int) -> None:
        while self.queued > level and not self._over:
            self._drained.clear()
            await self._drained.wait()

    async def run(self) -> None:
        """Send what is queued, for ever."""
        while True:
            while not self._pieces:
                self._filled.clear()
                await self._filled.wait()
            piece = self._next()
            await self._stream.send(piece)
            self.traffic.wire_bytes += len(piece)
            self.queued -= len(piece)
            self._drained.set()

    def _next(self) -> Buffer:
        piece = self._pieces.popleft()
        if not self._pieces or len(piece) > _COALESCE_BYTES:
            return piece
        pieces, size = [piece], len(piece)
        while self._pieces and size + len(self._pieces[0]) <= _COALESCE_BYTES:
            pieces.append(self._pieces.popleft())
            size += len(pieces[-1])
        return b"".join(pieces)

    def drop(self) -> None:
        """Send nothing more and wake who waits."""
        self._over = True
        self._pieces.clear()
        self._drained.set()

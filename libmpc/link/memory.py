"""A byte stream within one process, for tests and simulations.

``hold`` and ``tamper`` let a test play the network.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from libmpc.link.errors import LinkError
from libmpc.link.stream import Buffer

Tamper = Callable[[bytes], bytes | None]


class MemoryStream:
    """One end of a pair; what it sends, ``peer`` receives in the same pieces.

    Attributes:
        tamper: if set, called with every piece that this end sends; returns what arrives
            instead, or ``None`` for nothing.
        held: while set, what this end sends does not arrive; ``release`` delivers it.
        capacity: bytes under way, beyond which ``send`` waits.
    """

    def __init__(self, capacity: int = 16 << 20) -> None:
        self.capacity = capacity
        self.tamper: Tamper | None = None
        self.held = False
        self.closed = False
        self._arrived: deque[bytes] = deque()
        self._size = 0
        self._held: list[bytes] = []
        self._ended = False
        self._change = asyncio.Event()
        self._peer: MemoryStream = self

    async def send(self, data: Buffer) -> None:
        if self.closed or self._peer.closed:
            raise LinkError("the stream is closed")
        piece: bytes | None = bytes(data)
        if self.tamper is not None and piece is not None:
            piece = self.tamper(piece)
        if piece:
            self.inject(piece)
        peer = self._peer
        while peer._size > self.capacity and not peer.closed and not self.closed:
            self._change.clear()
            await self._change.wait()

    def inject(self, piece: bytes) -> None:
        """Let ``piece`` arrive at the peer as if this end had sent it."""
        if self.held:
            self._held.append(piece)
            return
        self._peer._arrived.append(piece)
        self._peer._size += len(piece)
        self._peer._change.set()

    def release(self) -> None:
        """Deliver what was held, and hold no more."""
        self.held = False
        for piece in self._held:
            self.inject(piece)
        self._held.clear()

    def cut(self) -> None:
        """End this end's direction without closing anything: the peer reads an end."""
        self._peer._ended = True
        self._peer._change.set()

    async def receive(self) -> bytes:
        while not self._arrived:
            if self._ended or self.closed:
                return b""
            self._change.clear()
            await self._change.wait()
        piece = self._arrived.popleft()
        self._size -= len(piece)
        self._peer._change.set()
        return piece

    async def close(self) -> None:
        self.closed = True
        self._change.set()
        self.cut()


def memory_pair(capacity: int = 16 << 20) -> tuple[MemoryStream, MemoryStream]:
    """Two connected ends."""
    one, two = MemoryStream(capacity), MemoryStream(capacity)
    one._peer, two._peer = two, one
    return one, two

"""A byte stream within one process, for tests and simulations.

``hold`` and ``tamper`` let a test play the network.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from libmpc.link.stream import Buffer, Sink

Tamper = Callable[[bytes], bytes | None]


class MemoryStream:
    """One end of a pair; what it writes arrives at ``peer`` in the same pieces.

    Attributes:
        tamper: if set, called with every piece that this end writes; returns what arrives
            instead, or ``None`` for nothing.
        held: while set, what this end writes does not arrive; ``release`` delivers it.
        capacity: bytes that may wait at the peer before they count as unsent.
    """

    def __init__(self, capacity: int = 16 << 20) -> None:
        self.capacity = capacity
        self.tamper: Tamper | None = None
        self.held = False
        self.closed = False
        self._held: list[bytes] = []
        self._arrived: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._told = False
        self._sink: Sink | None = None
        self._paused = False
        self._scheduled = False
        self._taken = asyncio.Event()
        self._peer: MemoryStream = self

    # -- sending

    @property
    def unsent(self) -> int:
        return max(0, self._peer._size - self.capacity)

    def write(self, data: Buffer) -> None:
        if self.closed or self._peer.closed:
            return
        piece: bytes | None = bytes(data)
        if self.tamper is not None and piece is not None:
            piece = self.tamper(piece)
        if piece:
            self.inject(piece)

    async def room(self, level: int) -> None:
        while self.unsent > level and not self.closed and not self._peer.closed:
            self._taken.clear()
            await self._taken.wait()

    def inject(self, piece: bytes) -> None:
        """Let ``piece`` arrive at the peer as if this end had written it."""
        if self.held:
            self._held.append(piece)
            return
        self._peer._arrived.append(piece)
        self._peer._size += len(piece)
        self._peer._schedule()

    def release(self) -> None:
        """Deliver what was held, and hold no more."""
        self.held = False
        for piece in self._held:
            self.inject(piece)
        self._held.clear()

    def cut(self) -> None:
        """End this end's direction without closing anything: the peer reads an end."""
        self._peer._ended = True
        self._peer._schedule()

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

    def _schedule(self) -> None:
        if not self._scheduled and not self._paused and self._sink is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        while self._sink is not None and not self._paused and not self.closed:
            if self._arrived:
                piece = self._arrived.popleft()
                self._size -= len(piece)
                self._peer._taken.set()
                self._sink.on_data(piece)
            else:
                if self._ended and not self._told:
                    self._told = True
                    self._sink.on_end(None)
                return

    async def close(self) -> None:
        self.closed = True
        self._taken.set()
        self._peer._taken.set()
        self.cut()


def memory_pair(capacity: int = 16 << 20) -> tuple[MemoryStream, MemoryStream]:
    """Two connected ends."""
    one, two = MemoryStream(capacity), MemoryStream(capacity)
    one._peer, two._peer = two, one
    return one, two

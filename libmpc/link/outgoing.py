"""Records on their way out: sealed in order, several written together where the caller says so."""

from __future__ import annotations

import asyncio

from libmpc.link.records import HEADER_BYTES, RECORD_OVERHEAD, Sealer
from libmpc.link.stream import Buffer, ByteStream
from libmpc.link.terms import Traffic


class Outgoing:
    """The sending half of a link.

    Args:
        stream: where the records go.
        sealer: makes them.
        sent: counts bytes on the stream.

    Attributes:
        closed: nothing is written any more.
    """

    def __init__(self, stream: ByteStream, sealer: Sealer, sent: Traffic) -> None:
        self.sealer = sealer
        self._stream = stream
        self._sent = sent
        self._held: list[Buffer] = []
        self.closed = False

    def put(
        self,
        kind: int,
        bundle: int,
        step: int,
        buffers: tuple[Buffer, ...] = (),
        more: bool = False,
    ) -> int:
        """Seal a message and write it, with ``more`` together with the next one; its size."""
        if more and not self._held:
            asyncio.get_running_loop().call_soon(self._let_go)
        size = -HEADER_BYTES
        for record in self.sealer.seal(kind, bundle, step, buffers):
            size += len(record) - RECORD_OVERHEAD
            self._sent.wire_bytes += len(record)
            self._held.append(record)
            # One write wakes the peer, who may take this processor, before the next one is made.
            if not more:
                self._let_go()
        return size

    def close(self) -> None:
        """Write nothing any more."""
        self.closed = True

    def _let_go(self) -> None:
        if self._held and not self.closed:
            self._stream.write(b"".join(self._held) if len(self._held) > 1 else self._held[0])
        self._held.clear()

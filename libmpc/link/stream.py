"""The seam to the network: bytes there and back, in order."""

from __future__ import annotations

from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class ByteStream(Protocol):
    """A full-duplex stream of bytes, whose chunks need not arrive as they were sent."""

    async def send(self, data: Buffer) -> None:
        """Send ``data``; returns when there is room for more. One caller at a time.

        Raises:
            LinkError: the stream is broken.
        """
        ...

    async def receive(self) -> Buffer:
        """The next bytes; empty when the peer's side has ended. One caller at a time.

        Raises:
            LinkError: the stream is broken.
        """
        ...

    async def close(self) -> None:
        """End both directions. Idempotent; raises nothing."""
        ...

"""The seam to the network: bytes there and back, in order, pushed rather than asked for."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from libmpc.link.errors import LinkError

Buffer: TypeAlias = bytes | bytearray | memoryview


class Sink(Protocol):
    """Who takes what a stream receives. Called by the event loop only, never from within a call
    to the stream."""

    def on_data(self, chunk: Buffer) -> None:
        """The next bytes, in pieces that need not be those sent; valid during the call only."""
        ...

    def on_end(self, error: LinkError | None) -> None:
        """Nothing more comes: the peer's side ended, or the stream broke with ``error``."""
        ...


class ByteStream(Protocol):
    """A full-duplex stream of bytes. Whoever is told of its end must still close it."""

    @property
    def unsent(self) -> int:
        """Bytes written that wait: for the peer to take earlier ones, or for the network."""
        ...

    def write(self, data: Buffer) -> None:
        """Send ``data``, which must not change any more; never waits.

        What is written after the end, or after ``close``, is dropped.
        """
        ...

    async def room(self, level: int) -> None:
        """Return when at most ``level`` bytes are unsent, or the stream is over."""
        ...

    def attach(self, sink: Sink) -> None:
        """Give what arrives to ``sink`` from now on; before the first one it waits.

        A sink that is attached after the end hears of the end, too.
        """
        ...

    def pause(self) -> None:
        """Give nothing to the sink, not even the end, so that the peer has to wait."""
        ...

    def resume(self) -> None:
        """The opposite of ``pause``."""
        ...

    async def close(self) -> None:
        """End both directions; the sink hears nothing more.

        Idempotent; raises nothing; returns within half a second.
        """
        ...

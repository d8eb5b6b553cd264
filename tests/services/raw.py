"""A client that sends whatever a test wants, frame by frame, and sees every frame that comes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hpack import Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1
FIRST_WINDOW = 65535

Frame = tuple[int, int, int, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int = -1) -> bytes:
    size = len(payload) if length < 0 else length
    return size.to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HI", key, value)


def credit(stream: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream, increment.to_bytes(4, "big"))


@dataclass
class Raw:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    encoder: Encoder = field(default_factory=Encoder)

    def write(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def headers(self, method: str, path: str, *more: tuple[str, str]) -> bytes:
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        return self.encoder.encode([*fields, *more])

    def request(self, stream: int, method: str, path: str, flags: int = END_HEADERS) -> bytes:
        return frame(HEADERS, flags, stream, self.headers(method, path))

    async def read(self) -> Frame:
        """The next frame: kind, flags, stream, payload."""
        head = await self.reader.readexactly(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream, await self.reader.readexactly(int.from_bytes(head[:3], "big"))

    async def until(self, kind: int) -> Frame:
        """The next frame of a kind; others are skipped."""
        while True:
            got = await self.read()
            if got[0] == kind:
                return got

    async def goaway(self) -> int:
        """The error code with which the server ends the connection, which it then does."""
        _, _, _, payload = await self.until(GOAWAY)
        # A reset, where it had not read everything.
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read() == b""
        return int.from_bytes(payload[4:8], "big")

    async def open_link(self, *settings: bytes) -> None:
        """Have the link taken; returns when the server's windows are those of a link."""
        self.write(PREFACE, frame(SETTINGS, 0, 0, b"".join(settings)))
        self.write(self.request(1, "POST", "/link/v1"))
        await self.until(HEADERS)
        for _ in range(2):
            await self.until(WINDOW)


@asynccontextmanager
async def raw(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A connection to a server on this machine."""
    name = None if context is None else "localhost"
    streams = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name, limit=1 << 26
    )
    connection = Raw(*streams)
    try:
        yield connection
    finally:
        connection.writer.transport.abort()

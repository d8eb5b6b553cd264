"""A JSON head before binary data, in one payload: u32 length, head, data."""

from __future__ import annotations

from libmpc.wire.errors import WireError

MAX_HEAD_BYTES = 4 << 20


def join(head: bytes, *data: bytes | bytearray | memoryview) -> tuple[bytes | memoryview, ...]:
    """The buffers of a payload with ``head`` before ``data``; nothing is copied."""
    return (len(head).to_bytes(4) + head, *(memoryview(d) for d in data))


def split(payload: bytes | bytearray | memoryview) -> tuple[bytes, memoryview]:
    """Head and data of a payload.

    Raises:
        WireError: cut off, or the head is too long.
    """
    view = memoryview(payload)
    size = int.from_bytes(view[:4])
    if len(view) < 4 or size > MAX_HEAD_BYTES or len(view) < 4 + size:
        raise WireError("a message is cut off")
    return bytes(view[4 : 4 + size]), view[4 + size :]

"""HTTP/2 frames as far as they are handled here (RFC 9113, sections 4 and 6)."""

from __future__ import annotations

import struct

from h2.errors import ErrorCodes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9

DATA = 0
HEADERS = 1
RST_STREAM = 3
GOAWAY = 7
WINDOW_UPDATE = 8
CONTINUATION = 9

END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8

_HEAD = struct.Struct(">HBBBI")
_WORD = struct.Struct(">I")


class Http2Error(Exception):
    """What ends a connection: the code that the peer is told, and the reason for our log."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before every frame's payload."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def parse_head(data: bytes | bytearray | memoryview, position: int) -> tuple[int, int, int, int]:
    """Length of the payload, kind, flags and stream of the frame that begins there."""
    high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
    return high << 8 | low, kind, flags, stream & 0x7FFFFFFF


def window_update(stream: int, increment: int) -> bytes:
    """Credit for ``increment`` bytes more, on a stream or, at 0, on the connection."""
    return head(4, WINDOW_UPDATE, 0, stream) + _WORD.pack(increment)


def reset(stream: int, code: ErrorCodes) -> bytes:
    return head(4, RST_STREAM, 0, stream) + _WORD.pack(code)


def goaway(last: int, code: ErrorCodes) -> bytes:
    return head(8, GOAWAY, 0, 0) + _WORD.pack(last) + _WORD.pack(code)


def increment(payload: memoryview) -> int:
    """What a WINDOW_UPDATE adds."""
    if len(payload) != 4:
        raise Http2Error(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length")
    value: int = _WORD.unpack(payload)[0] & 0x7FFFFFFF
    if not value:
        raise Http2Error(ErrorCodes.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
    return value

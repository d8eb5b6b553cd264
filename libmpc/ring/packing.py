"""Ring elements on the wire: six bytes each, little-endian. Bits: eight of them a byte.

Plain numpy, so that a client loads no compiler; parties use ``transfer``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import LibmpcError

WIDTH = 48
BYTES = WIDTH // 8
MASK = np.uint64((1 << WIDTH) - 1)

Buffer = bytes | bytearray | memoryview
_PACKED = np.dtype([("low", "<u4"), ("high", "<u2")])
_WORD = np.dtype(
    {"names": ["low", "high"], "formats": ["<u4", "<u2"], "offsets": [0, 4], "itemsize": 8}
)


class LengthError(LibmpcError, ValueError):
    """A buffer of ring elements does not have the length that was agreed."""


def pack(values: NDArray[np.uint64]) -> bytearray:
    """Six bytes per value, in C order; whatever is above bit 47 is dropped."""
    out = bytearray(BYTES * values.size)
    packed = np.frombuffer(out, _PACKED)
    words = np.ascontiguousarray(values, dtype="<u8").reshape(-1).view(_WORD)
    packed["low"] = words["low"]
    packed["high"] = words["high"]
    return out


def unpack(buffer: Buffer, count: int) -> NDArray[np.uint64]:
    """The ``count`` values of a packed buffer, as an array of shape (count,) below 2^48.

    Raises:
        LengthError: the buffer does not have exactly ``6 * count`` bytes.
    """
    source = np.frombuffer(buffer, np.uint8) if len(buffer) else np.empty(0, np.uint8)
    if source.size != BYTES * count:
        raise LengthError("a buffer of ring elements has the wrong length")
    packed = source.view(_PACKED)
    values = np.zeros(count, np.uint64)
    words = values.view(_WORD)
    words["low"] = packed["low"]
    words["high"] = packed["high"]
    return values


def pack_bits(bits: NDArray[np.uint64]) -> bytes:
    """Bit i mod 8 of byte ⌊i / 8⌋ is bit i, in C order; what is left of the last byte is 0."""
    return np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little").tobytes()


def unpack_bits(buffer: Buffer, count: int) -> NDArray[np.uint64]:
    """The ``count`` bits of a packed buffer, as an array of shape (count,).

    Raises:
        LengthError: the buffer does not have exactly ⌈count / 8⌉ bytes.
    """
    source = np.frombuffer(buffer, np.uint8) if len(buffer) else np.empty(0, np.uint8)
    if source.size != -(-count // 8):
        raise LengthError("a buffer of bits has the wrong length")
    return np.unpackbits(source, count=count, bitorder="little").astype(np.uint64)

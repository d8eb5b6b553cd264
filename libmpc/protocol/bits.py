"""XOR shares of bits: a word of value 0 or 1 each in memory, eight of them a byte in a message."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.exchange import Exchange, Payload, swap

Ring = NDArray[np.uint64]
Bits8 = NDArray[np.uint8]


def size(count: int) -> int:
    """Bytes of so many bits."""
    return -(-count // 8)


def pack(bits: Ring) -> Bits8:
    """Bit i mod 8 of byte ⌊i / 8⌋ is bit i; in C order."""
    return np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little")


def unpack(packed: Bits8 | Payload, count: int) -> Ring:
    """The first ``count`` bits, (count,)."""
    found = np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder="little")
    return found.astype(np.uint64)


def draw_packed(step: int, purpose: int, count: int, stream: Stream) -> Bits8:
    """Random bits as ``pack`` would put them; what is left of the last byte is 0."""
    packed = stream.bytes(step, purpose, size(count))
    if count % 8:
        packed[-1] &= (1 << count % 8) - 1
    return packed


def draw(step: int, purpose: int, count: int, stream: Stream) -> Ring:
    """Random bits, (count,)."""
    return unpack(draw_packed(step, purpose, count, stream), count)


async def open_bits(tag: int, masked_share: Ring, exchange: Exchange) -> Ring:
    """Send XOR shares, already under masks, and return the XOR of both, (n,); one round.

    Raises:
        ProtocolError: the other evaluator's message has the wrong length.
    """
    bits = masked_share.reshape(-1)
    received = await swap(exchange, tag, pack(bits))
    return bits ^ unpack(received, bits.size)

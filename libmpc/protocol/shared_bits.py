"""Random bits and words that a comparing step draws, and how its correction is laid out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.purposes import Purpose
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
Bits8 = NDArray[np.uint8]
Bits16 = NDArray[np.uint16]


def plane_bytes(count: int) -> int:
    """Bytes of one bit a value, eight values a byte."""
    return -(-count // 8)


def draw_bits8(step: int, count: int, stream: Stream) -> Bits8:
    """Own masks of up to 8 opened bits a value."""
    return stream.bytes(step, Purpose.BITS, count)


def draw_bits16(step: int, count: int, stream: Stream) -> Bits16:
    """Own masks of up to 16 opened bits a value."""
    bits = np.empty(count, np.uint16)
    stream.fill(step, Purpose.BITS, bits)
    return bits


def draw_planes(step: int, planes: int, count: int, stream: Stream) -> Bits8:
    """Own halves of the random bits r, (planes, bytes): one plane for each opened selection bit."""
    size = plane_bytes(count)
    return stream.bytes(step, Purpose.SELECT_BITS, planes * size).reshape(planes, size)


def draw_mask(step: int, count: int, stream0: Stream, stream1: Stream) -> Ring:
    """The dealer's λ_0 + λ_1 of a masked result, (n,)."""
    mask = stream0.words(step, Purpose.MASK, count)
    mask += stream1.words(step, Purpose.MASK, count)
    return mask


@dataclass(frozen=True)
class Layout:
    """How an evaluator's shares of tables, products and selections lie, drawn or sent.

    Rows of words, (words, n), of which all bits count; then rows of ring elements, (ring, n), six
    bytes each.

    Attributes:
        purpose: party 0's half, all of it random.
        words: rows of 64-bit words.
        ring: rows of ring elements.
    """

    purpose: Purpose
    words: int
    ring: int

    def correction_bytes(self, count: int) -> int:
        """Of ``count`` values."""
        return (8 * self.words + BYTES * self.ring) * count

    def draw(self, step: int, count: int, stream0: Stream, out: Payload) -> tuple[Ring, Bits16]:
        """Overwrite ``out``, which has ``correction_bytes``, with party 0's half; its parts."""
        # SECURITY: all of ``out`` is overwritten, so that nothing of an earlier use is left in it.
        stream0.fill(step, self.purpose, np.ndarray(self.correction_bytes(count), np.uint8, out))
        return self.parts(out, count)

    def half(
        self, step: int, party: int, count: int, stream: Stream, correction: Payload | None
    ) -> tuple[Ring, Bits16]:
        """An evaluator's half, drawn at party 0, from the dealer at party 1: not copied.

        Raises:
            ProtocolError: the correction has another length.
        """
        size = self.correction_bytes(count)
        if party == 0:
            return self.draw(step, count, stream, np.empty(size, np.uint8).data)
        if correction is None or len(correction) != size:
            raise ProtocolError
        return self.parts(correction, count)

    def parts(self, buffer: Payload, count: int) -> tuple[Ring, Bits16]:
        """Words (words, n) and packed ring elements (3 · ring · n,), in the buffer's memory."""
        words = np.ndarray((self.words, count), np.uint64, buffer)
        ring = np.ndarray(3 * self.ring * count, np.uint16, buffer, 8 * self.words * count)
        return words, ring

"""Random bits and words that a comparing step draws, and how its correction is laid out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.purposes import Purpose
from libmpc.ring import transfer
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


@dataclass(frozen=True)
class Layout:
    """How an evaluator's shares of tables, products and selections lie.

    Attributes:
        purpose: party 0's half, (words + ring, n), all of it random.
        words: rows of 64-bit words, of which all bits count.
        ring: rows of ring elements; six bytes each in a correction, after all of the words.
    """

    purpose: Purpose
    words: int
    ring: int

    def correction_bytes(self, count: int) -> int:
        """Of ``count`` values."""
        return (8 * self.words + BYTES * self.ring) * count

    def draw(self, step: int, count: int, stream0: Stream) -> tuple[Ring, Ring]:
        """Party 0's half: words and ring elements."""
        rows = self.words + self.ring
        drawn = stream0.words(step, self.purpose, rows * count).reshape(rows, count)
        return drawn[: self.words], drawn[self.words :]

    def new_correction(self, count: int) -> tuple[bytearray, Ring]:
        """An empty correction, and its words to be written, (words, n)."""
        correction = bytearray(self.correction_bytes(count))
        return correction, self._words(correction, count)

    def put_ring(self, correction: bytearray, ring: Ring) -> None:
        """Write the ring elements, (ring, n)."""
        packed = memoryview(correction)[8 * self.words * ring.shape[1] :]
        transfer.pack_words(ring.reshape(-1), np.frombuffer(packed, np.uint16))

    def half(
        self, step: int, party: int, count: int, stream: Stream, correction: Payload | None
    ) -> tuple[Ring, Ring]:
        """An evaluator's half, drawn at party 0, from the dealer at party 1.

        Raises:
            ProtocolError: the correction has another length.
        """
        if party == 0:
            return self.draw(step, count, stream)
        if correction is None or len(correction) != self.correction_bytes(count):
            raise ProtocolError
        packed = memoryview(correction)[8 * self.words * count :]
        ring = transfer.receive_added(np.zeros((self.ring, count), np.uint64), packed)
        return self._words(correction, count), ring

    def _words(self, correction: Payload, count: int) -> Ring:
        view = memoryview(correction)[: 8 * self.words * count]
        return np.frombuffer(view, np.uint64).reshape(self.words, count)

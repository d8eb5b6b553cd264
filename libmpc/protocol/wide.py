"""Wide comparison: both evaluators get ĝ = g ⊕ r of g = [d ≥ 0] for 48-bit differences d.

1. With D = d + δ, which both know, the dealer's shared tables give, locally, XOR shares of the
   comparisons of D's eight chunks with δ's, modulo 2^48. P_j sends 14 bits a value, each under a
   mask bit μ; the dealer has shared the products of the μ that occur.
2. From the opened bits and these products come XOR shares of g (``wide_tables``). P_j sends them
   under its half of the random bit r, which the dealer knows.

Exact for −2^47 ≤ d < 2^47, and for no more: both bounds are sharp.

Rounds: 2.  Sends: 2 + 1/8 bytes a value; dealer to party 1: 112 bytes of tables and products.
Source: as ``relu``, the sign part alone, with eight chunks of six bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol import wide_deal_kernels as deal_kernels
from libmpc.protocol import wide_kernels as kernels
from libmpc.protocol import wide_tables as constants
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange, round_tag, swap
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import (
    Bits8,
    Bits16,
    Layout,
    draw_bits16,
    draw_planes,
    plane_bytes,
)

Ring = NDArray[np.uint64]
ROWS = 14
TOP = 7
"""Row with an additive share of r from place 48 on."""
LAYOUT = Layout(Purpose.TOP_SHARES, words=ROWS, ring=0)
SECONDS_PER_VALUE = 15e-9
"""Of any one kernel."""


def online_bytes(count: int) -> int:
    """Of the two rounds."""
    return 2 * count + plane_bytes(count)


@dataclass(frozen=True, eq=False, repr=False)
class PreparedWide:
    """An evaluator's half of the randomness: words (14, n), own μ (n,), own r in bits."""

    words: Ring
    bits: Bits16
    select: Bits8

    def __repr__(self) -> str:
        return f"PreparedWide(values={self.bits.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.words.nbytes + self.bits.nbytes + self.select.nbytes


def deal(
    step: int, deltas: Ring, stream0: Stream, stream1: Stream, words: Ring
) -> tuple[Bits8, Bits8]:
    """Turn party 0's words, (14, n), into party 1's, for δ, (n,); returns both halves of r."""
    count = deltas.size
    bits = (draw_bits16(step, count, stream0), draw_bits16(step, count, stream1))
    select = (draw_planes(step, 1, count, stream0)[0], draw_planes(step, 1, count, stream1)[0])
    deal_kernels.deal_wide(deltas, *bits, *select, words)
    return select


def prepare(step: int, words: Ring, stream: Stream) -> PreparedWide:
    """An evaluator's half, from its words and its stream."""
    count = words.shape[1]
    bits = draw_bits16(step, count, stream)
    return PreparedWide(words, bits, draw_planes(step, 1, count, stream)[0])


async def evaluate(
    step: int,
    party: int,
    differences: Ring,
    prepared: PreparedWide,
    exchange: Exchange,
    compute: Compute,
) -> tuple[Bits8, Bits8]:
    """The messages of round 1 for D, (n,), own and other; their XOR is ĝ, eight values a byte.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    one, n = np.uint64(1 - party), differences.size
    seconds = n * SECONDS_PER_VALUE
    words, select = prepared.words, prepared.select
    kept, bits = np.empty(n, np.uint8), np.empty(n, np.uint16)
    await compute.run(
        seconds, kernels.compare_wide, differences, words, prepared.bits, one, kept, bits
    )
    theirs = await swap(exchange, round_tag(step, 0), bits)

    ours = np.empty(select.size, np.uint8)
    await compute.run(
        seconds,
        kernels.combine_wide,
        *(bits, theirs, kept, words, select),
        *(constants.WEIGHTS, constants.GATES, ours),
    )
    return ours, await swap(exchange, round_tag(step, 1), ours)

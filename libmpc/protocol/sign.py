"""Sign of a masked value: both evaluators get ĝ = g ⊕ r_g of g = [x ≥ 1]; two rounds of others.

1. With m = x + λ, which both know, the dealer's shared tables give, locally, XOR shares of the
   comparisons of (m − 1)'s chunks with λ's, modulo 2^32. P_j sends ten bits a value, each under a
   mask bit μ; the dealer has shared the products of the μ that occur.
2. From the opened bits and these products come XOR shares of g (``compare_tables``). P_j sends them
   under its half of the random bit r_g, which the dealer knows.

Exact for −2^31 + 1 ≤ x ≤ 2^31, and for no more: both bounds are sharp.

Rounds: 2.  Sends: 2 + 1/8 bytes a value; dealer to party 1: 40 bytes of tables and products.
Source: as ``relu``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol import combine_kernels as combine
from libmpc.protocol import compare_deal_kernels as deal_kernels
from libmpc.protocol import compare_kernels as compare
from libmpc.protocol import compare_tables as constants
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange, round_tag, swap
from libmpc.protocol.shared_bits import Bits8, Bits16, draw_bits16, draw_planes, plane_bytes

Ring = NDArray[np.uint64]
ROWS = 5
"""Words of tables and products, see ``compare_kernels``."""
SECONDS_PER_VALUE = 5e-9
"""Of any one kernel."""


def online_bytes(count: int) -> int:
    """Of the two rounds."""
    return 2 * count + plane_bytes(count)


@dataclass(frozen=True, eq=False, repr=False)
class PreparedSign:
    """An evaluator's half of the randomness: tables (5, n), own μ (n,), own r_g in bits."""

    tables: Ring
    bits: Bits16
    select: Bits8

    def __repr__(self) -> str:
        return f"PreparedSign(values={self.bits.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.tables.nbytes + self.bits.nbytes + self.select.nbytes


def deal(
    step: int, lam: Ring, stream0: Stream, stream1: Stream, words: Ring
) -> tuple[Bits8, Bits8]:
    """Turn party 0's tables into party 1's, from λ; returns both halves of r_g."""
    count = lam.size
    bits = (draw_bits16(step, count, stream0), draw_bits16(step, count, stream1))
    deal_kernels.deal_sign(lam, np.uint64(0), *bits, words)
    return draw_planes(step, 1, count, stream0)[0], draw_planes(step, 1, count, stream1)[0]


def prepare(step: int, tables: Ring, stream: Stream) -> PreparedSign:
    """An evaluator's half, from its tables and its stream."""
    count = tables.shape[1]
    bits = draw_bits16(step, count, stream)
    return PreparedSign(tables, bits, draw_planes(step, 1, count, stream)[0])


async def evaluate(
    step: int,
    party: int,
    m: Ring,
    prepared: PreparedSign,
    exchange: Exchange,
    compute: Compute,
) -> tuple[Bits8, Bits8]:
    """The messages of round 1 for m, (n,), own and other; their XOR is ĝ, eight values a byte.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    one, n = np.uint64(1 - party), m.size
    seconds = n * SECONDS_PER_VALUE
    tables, masks, select = prepared.tables, prepared.bits, prepared.select
    kept, bits = np.empty(n, np.uint8), np.empty(n, np.uint16)
    await compute.run(seconds, compare.compare_sign, m, tables, masks, one, kept, bits)
    theirs = await swap(exchange, round_tag(step, 0), bits)

    ours = np.empty(select.size, np.uint8)
    await compute.run(
        seconds,
        combine.combine_sign,
        *(bits, theirs, kept, tables, masks, select, one),
        *(constants.PRODUCTS_G, constants.REST_G, ours),
    )
    return ours, await swap(exchange, round_tag(step, 1), ours)

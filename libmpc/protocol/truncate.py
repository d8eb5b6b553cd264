"""Exact floor truncation: additive z at scale 2^32 → masked ⌊z/2^16⌋ at scale 2^16.

1. Open (``opening``): both evaluators have M = z + λ.
2. With the public M, the dealer's shared tables give, locally, XOR shares of the comparisons of
   M's four lowest chunks with λ's: for c = [M mod 2^16 < λ mod 2^16], the borrow of the low part.
   P_j sends six bits a value, each under a mask bit μ; the dealer has shared the products of the
   μ that occur.
3. From the opened bits and these products come XOR shares of c. P_j sends them under its half of
   the random bit r_c: ĉ = c ⊕ r_c is open.
4. With M' = M + 2^46 and z' = z + 2^46, which is not negative: ⌊z'/2^16⌋ = (M'>>16) − Λ − c, where
   Λ = λ>>16 where the top bit of M' is 1, and λ>>16 − λ_47·2^32 where it is 0. It is linear in the
   dealer's arithmetic shares of λ>>16, λ_47 and r_c. P_j sends [⌊z'/2^16⌋ − 2^30]_j + λ_yj; both
   have m = ⌊z/2^16⌋ + λ_y.

Exact for −2^46 ≤ z ≤ 2^46, and for no more: both bounds are sharp.

Rounds: 4.  Sends: 6 + 1 + 1/8 + 6 bytes a value; dealer to party 1: 24 bytes.
Source: as ``relu``, the low part alone; the offset that makes one bit decide the wrap by us.
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
from libmpc.protocol import opening
from libmpc.protocol import select_deal_kernels as select_deal
from libmpc.protocol import select_kernels as choose
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, Payload, round_tag, swap
from libmpc.protocol.input import complete
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import (
    Bits8,
    Layout,
    draw_bits8,
    draw_mask,
    draw_planes,
    plane_bytes,
)
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
TABLE, HIGH, BORROW = range(3)
"""Rows: the table of c; Λ; r_c with 11 products from place 51 on."""
LAYOUT = Layout(Purpose.TRUNCATE_SHARES, words=3, ring=0)
_SECONDS_PER_VALUE = 3e-9  # of any one kernel


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(
        rounds=4,
        online_bytes=(BYTES + 1 + BYTES) * count + plane_bytes(count),
        correction_bytes=LAYOUT.correction_bytes(count),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedTruncate:
    """An evaluator's half of the randomness of one step of n values.

    Attributes:
        words: (3, n).
        bits: own masks of the six comparison bits, (n,).
        select: own r_c, eight values a byte.
        mask: λ_yj of the result, (n,).
    """

    words: Ring
    bits: Bits8
    select: Bits8
    mask: Ring

    def __repr__(self) -> str:
        return f"PreparedTruncate(values={self.mask.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        parts = (self.words, self.bits, self.select, self.mask)
        return sum(part.nbytes for part in parts)


def deal(step: int, missing: Ring, stream0: Stream, stream1: Stream, correction: Payload) -> Ring:
    """The dealer's half.

    Args:
        step: the step's index.
        missing: d, what only the dealer knows of z, any shape.
        correction: what goes to party 1, 24 bytes a value; overwritten.

    Returns:
        the mask λ_y of the result, (n,).
    """
    count = missing.size
    lam = opening.deal(step, missing, stream0, stream1)
    words, _ = LAYOUT.draw(step, count, stream0, correction)
    planes = (draw_planes(step, 1, count, stream0)[0], draw_planes(step, 1, count, stream1)[0])
    select_deal.deal_truncate(lam, *planes, words)
    bits0 = draw_bits8(step, count, stream0).astype(np.uint16)
    bits1 = draw_bits8(step, count, stream1).astype(np.uint16)
    deal_kernels.deal_borrow(lam, bits0, bits1, np.uint64(0), words, TABLE, BORROW)
    return draw_mask(step, count, stream0, stream1)


def prepare(
    step: int, party: int, count: int, stream: Stream, correction: Payload | None
) -> PreparedTruncate:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have 24 bytes a value.
    """
    words, _ = LAYOUT.half(step, party, count, stream, correction)
    return PreparedTruncate(
        words=words,
        bits=draw_bits8(step, count, stream),
        select=draw_planes(step, 1, count, stream)[0],
        mask=stream.words(step, Purpose.MASK, count),
    )


async def evaluate(
    step: int,
    party: int,
    share: Ring,
    prepared: PreparedTruncate,
    exchange: Exchange,
    compute: Compute,
) -> Ring:
    """m = ⌊z/2^16⌋ + λ_y, (n,), from [z]_j + γ_j, any shape (γ_j: ``opening.draw``).

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    one, n = np.uint64(1 - party), share.size
    seconds = n * _SECONDS_PER_VALUE
    share, words, masks = share.reshape(-1), prepared.words, prepared.bits
    theirs = await opening.evaluate(step, share, exchange, compute)

    opened, kept, bits = np.empty(n, np.uint64), np.empty(n, np.uint8), np.empty(n, np.uint8)
    await compute.run(
        seconds,
        compare.compare_truncate,
        *(share, theirs, words[TABLE], masks, one),
        *(opened, kept, bits),
    )
    their_bits = await swap(exchange, round_tag(step, 1), bits)

    ours = np.empty(prepared.select.size, np.uint8)
    await compute.run(
        seconds,
        combine.combine_truncate,
        *(bits, their_bits, kept, words[TABLE], words[BORROW], masks, prepared.select, one),
        *(constants.REST_C, ours),
    )
    their_select = await swap(exchange, round_tag(step, 2), ours)

    chosen, message = np.empty(n, np.uint64), np.empty(3 * n, np.uint16)
    await compute.run(
        seconds,
        choose.choose_truncate,
        *(opened, ours, their_select, words[HIGH], words[BORROW], prepared.mask, one),
        *(chosen, message),
    )
    return await complete(round_tag(step, 3), chosen, message, exchange, compute)

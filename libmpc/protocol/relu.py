"""Fused ReLU and exact floor truncation: additive z at scale 2^32 → masked max(⌊z/2^16⌋, 0).

1. Open (``opening``): both evaluators have M = z + λ.
2. With the public M, the dealer's shared tables give, locally, XOR shares of the comparisons of
   M's chunks with λ's: for c = [M mod 2^16 < λ mod 2^16], the borrow of the low part, and for
   g = [zt ≥ 1] with zt = ⌊z/2^16⌋ + c = (M>>16) − (λ>>16). P_j sends 16 bits a value, each under
   a mask bit μ; the dealer has shared the products of the μ that occur.
3. From the opened bits and these products come XOR shares of g and c (``compare_tables``). P_j
   sends both under the random bits r_g, r_c: ĝ = g ⊕ r_g and ĉ = c ⊕ r_c are open.
4. y = g·(zt − c) is linear in the dealer's arithmetic shares of Λ, r_g·Λ, r_g, r_c and r_g·r_c,
   with Λ = λ>>16 where M's bit 47 is 1, and λ>>16 − λ_47·2^32 where it is 0.
   P_j sends [y]_j + λ_yj; both have m = y + λ_y.

Exact for −2^47 + 2^16 ≤ z ≤ 2^47, and for no more: both bounds are sharp.

Rounds: 4.  Sends: 6 + 2 + 1/4 + 6 bytes a value; dealer to party 1: 48 bytes of tables and
products, 34 of arithmetic shares.  Source: masked evaluation with tables of a public offset
(Ishai et al., 2013; ABY2.0, Patra et al., 2021), chunked; top chunk and borrow by us.
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
from libmpc.protocol import opening, sign
from libmpc.protocol import select_deal_kernels as select_deal
from libmpc.protocol import select_kernels as choose
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, Payload, round_tag, swap
from libmpc.protocol.input import complete
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import (
    Bits8,
    Bits16,
    Layout,
    draw_bits16,
    draw_mask,
    draw_planes,
    plane_bytes,
)
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
SIGN, SPARE, BORROW, HIGH = slice(sign.ROWS), 3, 5, slice(6, 8)
"""Rows: g's tables and products, one of them with c's products from place 51 on; c; Λ, r_g·Λ."""
LAYOUT = Layout(Purpose.RELU_SHARES, words=8, ring=3)
_SHIFT = np.uint64(16)
_BITS_OF_G = np.uint64(10)


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(
        rounds=4,
        online_bytes=(BYTES + 2 + BYTES) * count + 2 * plane_bytes(count),
        correction_bytes=LAYOUT.correction_bytes(count),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedRelu:
    """An evaluator's half of the randomness of one step of n values.

    Attributes:
        words: (8, n).
        arithmetic: shares of r_g, r_c and r_g·r_c, packed, (9 n,).
        bits: own masks of the 16 comparison bits, (n,): ten of g, six of c.
        select: own r_g, then r_c, eight values a byte, (2, bytes).
        mask: λ_yj of the result, (n,).
    """

    words: Ring
    arithmetic: Bits16
    bits: Bits16
    select: Bits8
    mask: Ring

    def __repr__(self) -> str:
        return f"PreparedRelu(values={self.mask.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        parts = (self.words, self.arithmetic, self.bits, self.select, self.mask)
        return sum(part.nbytes for part in parts)


def deal(step: int, missing: Ring, stream0: Stream, stream1: Stream, correction: Payload) -> Ring:
    """The dealer's half.

    Args:
        step: the step's index.
        missing: d, what only the dealer knows of z, any shape.
        correction: what goes to party 1, 82 bytes a value; overwritten.

    Returns:
        the mask λ_y of the result, (n,).
    """
    count = missing.size
    lam = opening.deal(step, missing, stream0, stream1)
    words, ring = LAYOUT.draw(step, count, stream0, correction)
    bits = draw_bits16(step, count, stream0), draw_bits16(step, count, stream1)
    deal_kernels.deal_sign(lam, _SHIFT, *bits, words)
    deal_kernels.deal_borrow(lam, *bits, _BITS_OF_G, words, BORROW, SPARE)
    planes0, planes1 = draw_planes(step, 2, count, stream0), draw_planes(step, 2, count, stream1)
    planes = (planes0[0], planes1[0], planes0[1], planes1[1])
    select_deal.deal_relu(lam, *planes, words, ring)
    return draw_mask(step, count, stream0, stream1)


def prepare(
    step: int, party: int, count: int, stream: Stream, correction: Payload | None
) -> PreparedRelu:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have 82 bytes a value.
    """
    words, ring = LAYOUT.half(step, party, count, stream, correction)
    return PreparedRelu(
        words=words,
        arithmetic=ring,
        bits=draw_bits16(step, count, stream),
        select=draw_planes(step, 2, count, stream),
        mask=stream.words(step, Purpose.MASK, count),
    )


def _borrow_bits(bits: Bits16) -> Bits8:
    return (bits >> np.uint16(10)).astype(np.uint8)


async def evaluate(
    step: int,
    party: int,
    share: Ring,
    prepared: PreparedRelu,
    exchange: Exchange,
    compute: Compute,
) -> Ring:
    """m = max(⌊z/2^16⌋, 0) + λ_y, (n,), from [z]_j + γ_j, any shape (γ_j: ``opening.draw``).

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    one, n = np.uint64(1 - party), share.size
    seconds = n * sign.SECONDS_PER_VALUE
    share, words, masks = share.reshape(-1), prepared.words, prepared.bits
    theirs = await opening.evaluate(step, share, exchange, compute)

    opened, kept, bits = np.empty(n, np.uint64), np.empty(n, np.uint8), np.empty(n, np.uint16)
    await compute.run(
        seconds,
        compare.compare_relu,
        *(share, theirs, words[SIGN], words[BORROW], masks, one),
        *(opened, kept, bits),
    )
    their_bits = await swap(exchange, round_tag(step, 1), bits)

    select = prepared.select.reshape(-1)
    ours = np.empty(select.size, np.uint8)
    await compute.run(
        seconds,
        combine.combine_relu,
        *(bits, their_bits, kept, words[SIGN], words[BORROW], words[SPARE], masks, select, one),
        *(constants.PRODUCTS_G, constants.REST_G, constants.REST_C),
        ours,
    )
    their_select = await swap(exchange, round_tag(step, 2), ours)

    chosen, message = np.empty(n, np.uint64), np.empty(3 * n, np.uint16)
    await compute.run(
        seconds,
        choose.choose_relu,
        *(opened, ours, their_select, words[HIGH], prepared.arithmetic, prepared.mask, one),
        *(chosen, message),
    )
    return await complete(round_tag(step, 3), chosen, message, exchange, compute)

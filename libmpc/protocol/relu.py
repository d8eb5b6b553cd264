"""Fused ReLU and exact floor truncation: additive z at scale 2^32 → masked max(⌊z/2^16⌋, 0).

The dealer has set λ = γ_0 + γ_1 − λ_x·λ_W, so the linear layer before costs no correction.

1. Open: P_j sends [z]_j + γ_j; both have M = z + λ.
2. With the public M, the dealer's shared tables give, locally, XOR shares of the comparisons of
   M's chunks with λ's: for c = [M mod 2^16 < λ mod 2^16], the borrow of the low part, and for
   g = [zt ≥ 1] with zt = ⌊z/2^16⌋ + c = (M>>16) − (λ>>16). P_j sends 16 bits a value, each under
   a mask bit μ; the dealer has shared the products of the μ that occur.
3. From the opened bits and these products come XOR shares of g and c (``relu_tables``). P_j sends
   both under the random bits r_g, r_c: ĝ = g ⊕ r_g and ĉ = c ⊕ r_c are open.
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
from libmpc.protocol import relu_deal_kernels as deal_kernels
from libmpc.protocol import relu_kernels as kernels
from libmpc.protocol import relu_tables as constants
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Exchange, Payload, round_tag, swap
from libmpc.protocol.input import send_masked
from libmpc.protocol.purposes import Purpose
from libmpc.ring.packing import BYTES
from libmpc.ring.transfer import pack_words, receive_added

Ring = NDArray[np.uint64]
_WORD_ROWS = 8  # tables, products, and the two arithmetic shares that use all 64 bits
_RING_ROWS = 3
_CORRECTION_BYTES = 8 * _WORD_ROWS + BYTES * _RING_ROWS
_SECONDS_PER_VALUE = 8e-9  # of any one kernel


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(
        rounds=4,
        online_bytes=(BYTES + 2 + BYTES) * count + _select_bytes(count),
        correction_bytes=_CORRECTION_BYTES * count,
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedRelu:
    """An evaluator's half of the randomness of one ReLU step of n values.

    Attributes:
        tables: (8, n), see ``relu_kernels``.
        arithmetic: (3, n).
        bits: own masks of the 16 comparison bits, (n,).
        select: own r_g and r_c, two bits a value.
        mask: λ_yj of the result, (n,).
    """

    tables: Ring
    arithmetic: Ring
    bits: NDArray[np.uint16]
    select: NDArray[np.uint8]
    mask: Ring

    def __repr__(self) -> str:
        return f"PreparedRelu(values={self.mask.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        parts = (self.tables, self.arithmetic, self.bits, self.select, self.mask)
        return sum(part.nbytes for part in parts)


def deal(step: int, missing: Ring, stream0: Stream, stream1: Stream) -> tuple[bytearray, Ring]:
    """The dealer's half.

    Args:
        step: the ReLU step's index.
        missing: λ_x·λ_W of the linear layer before, (n,).

    Returns:
        the correction for party 1, and the mask λ_y of the result.
    """
    count = missing.size
    lam = draw_opening(step, count, stream0) + draw_opening(step, count, stream1) - missing
    tables, arithmetic = _draw_shares(step, count, stream0)
    correction = bytearray(_CORRECTION_BYTES * count)
    words, ring = _parts(correction, count)
    rest = np.empty((_RING_ROWS, count), np.uint64)
    bits = (_draw_bits(step, count, stream0), _draw_bits(step, count, stream1))
    deal_kernels.deal_tables(lam, tables, *bits, words)
    select = (_draw_select(step, count, stream0), _draw_select(step, count, stream1))
    deal_kernels.deal_arithmetic(lam, tables, arithmetic, *select, words, rest)
    pack_words(rest.reshape(-1), np.frombuffer(ring, np.uint16))
    mask = stream0.words(step, Purpose.MASK, count) + stream1.words(step, Purpose.MASK, count)
    return correction, mask


def draw_opening(step: int, count: int, stream: Stream) -> Ring:
    """γ_j, which evaluator j adds to its share of z before sending it: (count,)."""
    return stream.words(step, Purpose.OPENING, count)


def prepare(
    step: int, party: int, count: int, stream: Stream, correction: Payload | None
) -> PreparedRelu:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have 82 bytes a value.
    """
    if party == 0:
        tables, arithmetic = _draw_shares(step, count, stream)
    else:
        if correction is None or len(correction) != _CORRECTION_BYTES * count:
            raise ProtocolError
        tables, ring = _parts(correction, count)
        arithmetic = receive_added(np.zeros((_RING_ROWS, count), np.uint64), ring)
    return PreparedRelu(
        tables=tables,
        arithmetic=arithmetic,
        bits=_draw_bits(step, count, stream),
        select=_draw_select(step, count, stream),
        mask=stream.words(step, Purpose.MASK, count),
    )


async def evaluate(
    step: int,
    party: int,
    share: Ring,
    prepared: PreparedRelu,
    exchange: Exchange,
    compute: Compute,
) -> Ring:
    """m = ReLU(⌊z/2^16⌋) + λ_y, (n,), from [z]_j + γ_j, (n,).

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    one = np.uint64(1 - party)
    count = share.size
    seconds = count * _SECONDS_PER_VALUE
    opened = await send_masked(round_tag(step, 0), share, exchange)

    bits = np.empty(count, np.uint16)
    linear = np.empty(count, np.uint8)
    await compute.run(
        seconds, kernels.compare, opened, prepared.tables, prepared.bits, one, bits, linear
    )
    theirs = await swap(exchange, round_tag(step, 1), bits.view(np.uint8).data)
    open_bits = bits ^ np.frombuffer(theirs, np.uint16)

    select = np.empty(_select_bytes(count), np.uint8)
    await compute.run(
        seconds,
        kernels.combine,
        open_bits,
        linear,
        prepared.tables,
        prepared.bits,
        prepared.select,
        one,
        constants.PRODUCTS_G,
        constants.REST_G,
        constants.REST_C,
        select,
    )
    theirs = await swap(exchange, round_tag(step, 2), select.data)
    their_select = np.frombuffer(theirs, np.uint8)

    chosen = np.empty(count, np.uint64)
    await compute.run(
        seconds,
        kernels.choose,
        opened,
        select,
        their_select,
        prepared.tables,
        prepared.arithmetic,
        prepared.mask,
        one,
        chosen,
    )
    return await send_masked(round_tag(step, 3), chosen, exchange)


def _select_bytes(count: int) -> int:
    return -(-count // 4)


def _draw_bits(step: int, count: int, stream: Stream) -> NDArray[np.uint16]:
    bits = np.empty(count, np.uint16)
    stream.fill(step, Purpose.BITS, bits)
    return bits


def _draw_select(step: int, count: int, stream: Stream) -> NDArray[np.uint8]:
    return stream.bytes(step, Purpose.SELECT_BITS, _select_bytes(count))


def _draw_shares(step: int, count: int, stream0: Stream) -> tuple[Ring, Ring]:
    """Party 0's half of tables and arithmetic shares: all of it random."""
    rows = _WORD_ROWS + _RING_ROWS
    words = stream0.words(step, Purpose.RELU_SHARES, rows * count).reshape(rows, count)
    return words[:_WORD_ROWS], words[_WORD_ROWS:]


def _parts(correction: Payload, count: int) -> tuple[Ring, memoryview]:
    """The rows of words of a correction, (8, n) in place, and its packed ring elements."""
    split = 8 * _WORD_ROWS * count
    view = memoryview(correction)
    words = np.frombuffer(view[:split], np.uint64).reshape(_WORD_ROWS, count)
    return words, view[split:]

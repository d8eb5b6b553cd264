"""Lookup: whether an XOR-shared number is each of some public ones, as arithmetic shares.

1. P_j sends [v]_j ⊕ ρ_j of a number v of w bits; v̂ = v ⊕ ρ is open, the dealer knows ρ.
2. The dealer shares, in arithmetic shares, a table of 2^w places with a one at ρ. For a public
   number k, its place v̂ ⊕ k holds a share of [v = k]. Nothing is missing of the result.

With v = a ⊕ b and k = 0 it tells whether a and b are equal.

Rounds: 1.  Sends: w bits a number; dealer to party 1: 6·2^w bytes a number.  Source: one-time
truth tables (Ishai et al., 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol import bits
from libmpc.protocol import select_deal_kernels as select_deal
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, Payload, round_tag
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import Bits16, Layout
from libmpc.ring import transfer
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
LAYOUT = Layout(Purpose.LOOKUP_SHARES, words=0, ring=1)


def cost(width: int, batch: int) -> Cost:
    """Of one number of ``width`` bits a sample."""
    return Cost(
        rounds=1,
        online_bytes=bits.size(width * batch),
        correction_bytes=BYTES * batch << width,
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedLookup:
    """An evaluator's half.

    Attributes:
        masks: own ρ, (batch, width).
        tables: shares of the tables, packed, (batch, 2^width, 3).
    """

    masks: Ring
    tables: Bits16

    def __repr__(self) -> str:
        return f"PreparedLookup(numbers={len(self.masks)})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.masks.nbytes + self.tables.nbytes


def deal(
    step: int, width: int, batch: int, stream0: Stream, stream1: Stream, correction: Payload
) -> None:
    """Overwrite the correction for party 1."""
    _, ring = LAYOUT.draw(step, batch << width, stream0, correction)
    rho = _masks(step, width, batch, stream0) ^ _masks(step, width, batch, stream1)
    # SECURITY: the place of the one is secret, so every place of a table is computed alike.
    table = np.arange(1 << width, dtype=np.uint64) == _numbers(rho)[:, np.newaxis]
    select_deal.deal_values(table.reshape(-1).astype(np.uint64), ring)


def prepare(
    step: int, party: int, width: int, batch: int, stream: Stream, correction: Payload | None
) -> PreparedLookup:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have 6·2^width bytes a number.
    """
    _, tables = LAYOUT.half(step, party, batch << width, stream, correction)
    return PreparedLookup(_masks(step, width, batch, stream), tables.reshape(batch, -1, 3))


async def evaluate(
    step: int, number: Ring, places: Sequence[int], prepared: PreparedLookup, exchange: Exchange
) -> Ring:
    """Arithmetic shares of [v = k] for every k of ``places``, (batch · places,).

    ``number`` has the shares of v's bits, lowest first, (batch, width) in any shape.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    masks = prepared.masks
    # SECURITY: every bit leaves under its own fresh mask.
    masked = number.reshape(masks.shape) ^ masks
    opened = await bits.open_bits(round_tag(step, 0), masked, exchange)
    at = _numbers(opened.reshape(masks.shape))[:, np.newaxis] ^ np.array(places, np.uint64)
    samples = np.arange(len(masks))[:, np.newaxis]
    shares = np.zeros(at.size, np.uint64)
    transfer.accumulate(prepared.tables[samples, at.astype(np.int64)].reshape(-1), shares)
    return shares


def _masks(step: int, width: int, batch: int, stream: Stream) -> Ring:
    return bits.draw(step, Purpose.BITS, width * batch, stream).reshape(batch, width)


def _numbers(digits: Ring) -> Ring:
    """From bits, lowest first, in the last axis."""
    weights = np.uint64(1) << np.arange(digits.shape[1], dtype=np.uint64)
    numbers: Ring = (digits * weights).sum(axis=1, dtype=np.uint64)
    return numbers

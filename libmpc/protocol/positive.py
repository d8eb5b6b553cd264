"""Is it positive: masked x at scale 2^16 → masked 1 (that is, 2^16) where x ≥ 1, else 0.

1., 2. Sign (``sign``): both evaluators have ĝ = g ⊕ r_g of g = [x ≥ 1].
3. y = g·2^16 is linear in the dealer's arithmetic shares of r_g. P_j sends [y]_j + λ_yj; both have
   m_y = y + λ_y.

Exact for −2^31 + 1 ≤ x ≤ 2^31, and for no more: both bounds are sharp.

Rounds: 3.  Sends: 2 + 1/8 + 6 bytes a value; dealer to party 1: 40 bytes of tables and products,
6 of arithmetic shares.  Source: as ``relu``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol import select_deal_kernels as select_deal
from libmpc.protocol import select_kernels as choose
from libmpc.protocol import sign
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, Payload, round_tag
from libmpc.protocol.input import complete
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import Bits16, Layout, draw_mask
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
LAYOUT = Layout(Purpose.POSITIVE_SHARES, words=sign.ROWS, ring=1)


def cost(count: int) -> Cost:
    """Of ``count`` values."""
    return Cost(
        rounds=3,
        online_bytes=sign.online_bytes(count) + BYTES * count,
        correction_bytes=LAYOUT.correction_bytes(count),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedPositive:
    """An evaluator's half of the randomness of one step of n values.

    Attributes:
        sign: tables and masks of the comparison.
        arithmetic: shares of r_g, packed, (3 n,).
        mask: λ_yj of the result, (n,).
    """

    sign: sign.PreparedSign
    arithmetic: Bits16
    mask: Ring

    def __repr__(self) -> str:
        return f"PreparedPositive(values={self.mask.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.sign.nbytes + self.arithmetic.nbytes + self.mask.nbytes


def deal(step: int, lam: Ring, stream0: Stream, stream1: Stream, correction: Payload) -> Ring:
    """The dealer's half.

    Args:
        step: the step's index.
        lam: λ_0 + λ_1 of x, any shape.
        correction: what goes to party 1, 46 bytes a value; overwritten.

    Returns:
        the mask λ_y of the result, (n,).
    """
    lam = lam.reshape(-1)
    count = lam.size
    words, ring = LAYOUT.draw(step, count, stream0, correction)
    planes = sign.deal(step, lam, stream0, stream1, words)
    select_deal.deal_positive(lam, *planes, ring)
    return draw_mask(step, count, stream0, stream1)


def prepare(
    step: int, party: int, count: int, stream: Stream, correction: Payload | None
) -> PreparedPositive:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have 46 bytes a value.
    """
    words, ring = LAYOUT.half(step, party, count, stream, correction)
    return PreparedPositive(
        sign=sign.prepare(step, words, stream),
        arithmetic=ring,
        mask=stream.words(step, Purpose.MASK, count),
    )


async def evaluate(
    step: int,
    party: int,
    m: Ring,
    prepared: PreparedPositive,
    exchange: Exchange,
    compute: Compute,
) -> Ring:
    """m_y = [x ≥ 1]·2^16 + λ_y, (n,), from m = x + λ, any shape.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    m, one = m.reshape(-1), np.uint64(1 - party)
    ours, theirs = await sign.evaluate(step, party, m, prepared.sign, exchange, compute)
    chosen, message = np.empty(m.size, np.uint64), np.empty(3 * m.size, np.uint16)
    await compute.run(
        m.size * sign.SECONDS_PER_VALUE,
        choose.choose_positive,
        *(ours, theirs, prepared.arithmetic, prepared.mask, one),
        *(chosen, message),
    )
    return await complete(round_tag(step, 2), chosen, message, exchange, compute)

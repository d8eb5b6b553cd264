"""Pick: the masked values that XOR-shared one-hot rows point at, masked anew.

1. P_j sends [e]_j ⊕ ρ_j of every one-hot bit e; ê = e ⊕ ρ is open, the dealer knows ρ.
2. Σ_i e_i·x_i with e_i = ê_i + (1 − 2ê_i)·ρ_i and x_i = m_i − λ_i is linear in the dealer's
   arithmetic shares of ρ_i and ρ_i·λ_i and in the evaluators' own λ_ij. P_j sends its share under
   λ_yj; both have m_y = y + λ_y.

Rounds: 2.  Sends: 1/8 byte a one-hot bit, 6 bytes a result; dealer to party 1: 12 bytes a bit.
Source: as ``rectify``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan.groups import Groups
from libmpc.prg import Stream
from libmpc.protocol import bits
from libmpc.protocol import input as input_step
from libmpc.protocol import pick_kernels as kernels
from libmpc.protocol import select_deal_kernels as select_deal
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.exchange import Exchange, Payload, round_tag, swap
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import Bits8, Bits16, Layout, draw_mask
from libmpc.ring.packing import BYTES

Ring = NDArray[np.uint64]
LAYOUT = Layout(Purpose.PICK_SHARES, words=0, ring=2)
_SECONDS_PER_BIT = 5e-9


def cost(groups: Groups, batch: int) -> Cost:
    """Of a batch of samples."""
    count = _bits(groups, batch)
    return Cost(
        rounds=2,
        online_bytes=bits.size(count) + BYTES * _winners(groups, batch),
        correction_bytes=LAYOUT.correction_bytes(count),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedPick:
    """An evaluator's half of the randomness of one step.

    Attributes:
        masks: own masks ρ_j of the one-hot bits, eight a byte.
        arithmetic: shares of ρ and ρ·λ, packed, (6 n,) for n one-hot bits.
        source_mask: λ_j of the candidates.
        mask: λ_yj of the results.
    """

    masks: Bits8
    arithmetic: Bits16
    source_mask: Ring
    mask: Ring

    def __repr__(self) -> str:
        return f"PreparedPick(values={self.mask.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        parts = (self.masks, self.arithmetic, self.source_mask, self.mask)
        return sum(part.nbytes for part in parts)


def deal(
    step: int, groups: Groups, lam: Ring, stream0: Stream, stream1: Stream, correction: Payload
) -> Ring:
    """λ_y of the results, from λ of the values of a batch; the correction is overwritten."""
    lam = lam.reshape(-1, groups.candidates)
    count = _bits(groups, len(lam))
    _, ring = LAYOUT.draw(step, count, stream0, correction)
    rho0 = bits.draw_packed(step, Purpose.BITS, count, stream0)
    rho1 = bits.draw_packed(step, Purpose.BITS, count, stream1)
    select_deal.deal_rectify(lam[:, groups.places].reshape(-1), rho0, rho1, ring)
    return draw_mask(step, _winners(groups, len(lam)), stream0, stream1)


def prepare(
    step: int, party: int, groups: Groups, own: Ring, stream: Stream, correction: Payload | None
) -> PreparedPick:
    """Evaluator ``party``'s half, from its λ_j of the values, its stream and the correction.

    Raises:
        ProtocolError: the correction does not have 12 bytes a one-hot bit.
    """
    own = own.reshape(-1, groups.candidates)
    count = _bits(groups, len(own))
    _, ring = LAYOUT.half(step, party, count, stream, correction)
    return PreparedPick(
        masks=bits.draw_packed(step, Purpose.BITS, count, stream),
        arithmetic=ring,
        source_mask=own.reshape(-1),
        mask=input_step.draw_mask(step, _winners(groups, len(own)), stream),
    )


async def evaluate(
    step: int,
    party: int,
    groups: Groups,
    one_hot: Ring,
    m: Ring,
    prepared: PreparedPick,
    exchange: Exchange,
    compute: Compute,
) -> Ring:
    """m_y of the winners, (batch · groups · keep,), from shares of one-hot bits and from m.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    # SECURITY: one-hot bits tell who won; each leaves under its own fresh mask.
    ours = bits.pack(one_hot) ^ prepared.masks
    theirs = await swap(exchange, round_tag(step, 0), ours)
    chosen = np.empty(prepared.mask.size, np.uint64)
    message = np.empty(3 * chosen.size, np.uint16)
    await compute.run(
        one_hot.size * _SECONDS_PER_BIT,
        kernels.choose_pick,
        *(m.reshape(-1), prepared.source_mask, ours, theirs, prepared.arithmetic, prepared.mask),
        *(np.uint64(1 - party), groups.candidates, groups.groups, groups.keep),
        *(chosen, message),
    )
    return await input_step.complete(round_tag(step, 1), chosen, message, exchange, compute)


def _bits(groups: Groups, batch: int) -> int:
    return batch * groups.keep * groups.candidates


def _winners(groups: Groups, batch: int) -> int:
    return batch * groups.groups * groups.keep

"""Pick bits: the XOR-shared words that XOR-shared one-hot rows point at, as XOR shares.

1. P_j sends [e]_j ⊕ ρ_j of every one-hot bit and [b]_j ⊕ σ_j of every bit of the words; ê and b̂
   are open, the dealer knows ρ and σ.
2. ⊕_i e_i·b_i = ⊕_i (ê_i·b̂_i ⊕ ê_i·σ_i ⊕ b̂_i·ρ_i) ⊕ (⊕_i ρ_i·σ_i), of which the dealer shares the
   last part.

Rounds: 1.  Sends: a bit a one-hot bit and a bit of a word; dealer to party 1: a bit a bit of a
result.  Source: Beaver (1991), with the masks' products summed by the dealer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan.groups import Groups
from libmpc.prg import Stream
from libmpc.protocol import bits
from libmpc.protocol.cost import Cost
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Exchange, Payload, round_tag
from libmpc.protocol.purposes import Purpose

Ring = NDArray[np.uint64]


def cost(groups: Groups, width: int, batch: int) -> Cost:
    """Of a batch of samples, with words of ``width`` bits."""
    return Cost(
        rounds=1,
        online_bytes=bits.size(_opened(groups, width, batch)),
        correction_bytes=bits.size(_results(groups, width, batch)),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PreparedPickBits:
    """An evaluator's half: own ρ and σ, shared products.

    Attributes:
        rho: (batch, keep · candidates).
        sigma: (batch, candidates, width).
        products: of the results, (batch, groups · keep, width).
    """

    rho: Ring
    sigma: Ring
    products: Ring

    def __repr__(self) -> str:
        return f"PreparedPickBits(bits={self.products.size})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.rho.nbytes + self.sigma.nbytes + self.products.nbytes


def deal(
    step: int,
    groups: Groups,
    width: int,
    batch: int,
    stream0: Stream,
    stream1: Stream,
    correction: Payload,
) -> None:
    """Overwrite the correction for party 1."""
    rho0, sigma0 = _masks(step, groups, width, batch, stream0)
    rho1, sigma1 = _masks(step, groups, width, batch, stream1)
    products = _chosen(groups, rho0 ^ rho1, sigma0 ^ sigma1)
    ours = bits.draw(step, Purpose.PICK_BITS_SHARES, products.size, stream0)
    np.frombuffer(correction, np.uint8)[:] = bits.pack(products.reshape(-1) ^ ours)


def prepare(
    step: int,
    party: int,
    groups: Groups,
    width: int,
    batch: int,
    stream: Stream,
    correction: Payload | None,
) -> PreparedPickBits:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction does not have a bit a bit of a result.
    """
    count = _results(groups, width, batch)
    if party == 0:
        products = bits.draw(step, Purpose.PICK_BITS_SHARES, count, stream)
    else:
        if correction is None or len(correction) != bits.size(count):
            raise ProtocolError
        products = bits.unpack(correction, count)
    rho, sigma = _masks(step, groups, width, batch, stream)
    return PreparedPickBits(rho, sigma, products.reshape(batch, -1, width))


async def evaluate(
    step: int,
    party: int,
    groups: Groups,
    one_hot: Ring,
    words: Ring,
    prepared: PreparedPickBits,
    exchange: Exchange,
) -> Ring:
    """Shares of the winners' words, (batch · groups · keep · width,), from shares of both.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    rho, sigma = prepared.rho, prepared.sigma
    e, b = one_hot.reshape(rho.shape), words.reshape(sigma.shape)
    # SECURITY: both tell who won; every bit leaves under its own fresh mask.
    masked = np.concatenate(((e ^ rho).reshape(-1), (b ^ sigma).reshape(-1)))
    opened = await bits.open_bits(round_tag(step, 0), masked, exchange)
    e, b = opened[: rho.size].reshape(rho.shape), opened[rho.size :].reshape(sigma.shape)
    result = _chosen(groups, e, sigma) ^ _chosen(groups, rho, b) ^ prepared.products
    if party == 0:
        result ^= _chosen(groups, e, b)
    return result.reshape(-1)


def _chosen(groups: Groups, one_hot: Ring, words: Ring) -> Ring:
    """⊕_i e_i·b_i of every winner, (batch, groups · keep, width)."""
    terms = one_hot[:, :, np.newaxis] & words[:, groups.places]
    chosen: Ring = np.bitwise_xor.reduceat(terms, groups.starts, axis=1)
    return chosen


def _masks(step: int, groups: Groups, width: int, batch: int, stream: Stream) -> tuple[Ring, Ring]:
    drawn = bits.draw(step, Purpose.BITS, _opened(groups, width, batch), stream)
    split = batch * groups.keep * groups.candidates
    return (
        drawn[:split].reshape(batch, groups.keep * groups.candidates),
        drawn[split:].reshape(batch, groups.candidates, width),
    )


def _opened(groups: Groups, width: int, batch: int) -> int:
    return batch * groups.candidates * (groups.keep + width)


def _results(groups: Groups, width: int, batch: int) -> int:
    return batch * groups.groups * groups.keep * width

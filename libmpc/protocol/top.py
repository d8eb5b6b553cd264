"""The largest of each group: masked values → XOR shares of one-hot rows, in order of rank.

Values are compared as 48-bit numbers, all pairs of a group at once; the lowest index goes first
where they are equal.

1., 2. Wide comparison (``wide``): both evaluators have ĝ = g ⊕ r of g_ij = [y_i ≥ y_j], i < j.
   Candidate i beats j if g_ij = 1, and j beats i if not.
If one of each group is asked for, and groups have at most 12 candidates:
   Candidate i wins if its open bits ĝ are those that the masks r alone make of winning throughout.
   The dealer shares, for every candidate, a table with a one at that place; the evaluators read
   theirs at the open bits. No round.
Else:
3. The score s_i, how many of its group i beats, is linear in the dealer's arithmetic shares of r.
   P_j sends [s_i]_j + t_ij modulo 2^b. The score belongs to one rank alone, so the dealer's shared
   table with a one at the place t_i, read at s_i + t_i less a rank's score, tells whether i has it.

Exact where −2^47 ≤ y_i − y_j < 2^47 for all i < j of a group, and for no more.

Rounds: 2 or 3.  Sends: 2 + 1/8 bytes a comparison, in the second case 2 bytes a candidate; dealer
to party 1: 112 bytes a comparison, and the tables.  Source: as ``relu``; ranks by counting
comparisons are folklore, the tables at opened patterns by us.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan.groups import Groups
from libmpc.prg import Stream
from libmpc.protocol import top_kernels as kernels
from libmpc.protocol import wide
from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Exchange, Payload, round_tag, swap
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.shared_bits import Bits16
from libmpc.protocol.wide import PreparedWide

Ring = NDArray[np.uint64]
LARGEST_AT_ONCE = 12
"""Candidates of a group whose winner is read from its pattern; tables double with each more."""
_SECONDS_PER_PAIR = 2e-9  # of any one kernel but those of the wide comparison


def at_once(groups: Groups) -> bool:
    """Whether the winner is read from the pattern of comparisons, without scores."""
    return groups.keep == 1 and groups.largest <= LARGEST_AT_ONCE


def table_words(groups: Groups) -> int:
    """Words of a candidate's table."""
    if at_once(groups):
        return max(1, (1 << groups.largest - 1) // 64)
    return max(1, (1 << (groups.largest - 1).bit_length()) // 64)


def cost(groups: Groups, batch: int) -> Cost:
    """Of a batch of samples."""
    pairs, candidates = batch * groups.pairs, batch * groups.candidates
    return Cost(
        rounds=2 if at_once(groups) else 3,
        online_bytes=wide.online_bytes(pairs) + (0 if at_once(groups) else 2 * candidates),
        correction_bytes=correction_bytes(groups, batch),
    )


def correction_bytes(groups: Groups, batch: int) -> int:
    """The words of the comparisons, then those of the tables."""
    tables = 8 * table_words(groups) * batch * groups.candidates
    return wide.LAYOUT.correction_bytes(batch * groups.pairs) + tables


@dataclass(frozen=True, eq=False, repr=False)
class PreparedTop:
    """An evaluator's half of the randomness of one step.

    Attributes:
        wide: that of the comparisons.
        tables: one-hot tables, (words, candidates of the batch).
        rank: own masks t of the scores, (candidates of the batch,); ``None`` if they are not sent.
    """

    wide: PreparedWide
    tables: Ring
    rank: Bits16 | None

    def __repr__(self) -> str:
        return f"PreparedTop(candidates={self.tables.shape[1]})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        rank = 0 if self.rank is None else self.rank.nbytes
        return self.wide.nbytes + self.tables.nbytes + rank


def deal(
    step: int, groups: Groups, lam: Ring, stream0: Stream, stream1: Stream, correction: Payload
) -> None:
    """Overwrite the correction for party 1, from λ_0 + λ_1 of the values of a batch, any shape."""
    lam = lam.reshape(-1)
    batch = lam.size // groups.candidates
    words, tables = _draw(step, groups, batch, stream0, correction)
    form = (groups.candidates, groups.groups)
    select = wide.deal(step, _differences(lam, groups), stream0, stream1, words)
    if at_once(groups):
        places = np.empty(lam.size, np.uint64)
        # Where i is the first of a pair, it beats the other if g = 1, that is, if ĝ = 1 ⊕ r.
        kernels.patterns(*select, np.uint64(1), *form, places)
    else:
        masks = draw_rank(step, lam.size, stream0) + draw_rank(step, lam.size, stream1)
        places = (masks & _modulus(groups)).astype(np.uint64)
    kernels.deal_one_hot(places, tables)


def prepare(
    step: int, party: int, groups: Groups, batch: int, stream: Stream, correction: Payload | None
) -> PreparedTop:
    """Evaluator ``party``'s half, from its stream and, at party 1, the dealer's correction.

    Raises:
        ProtocolError: the correction has the wrong length.
    """
    size = correction_bytes(groups, batch)
    if party == 0:
        words, tables = _draw(step, groups, batch, stream, np.empty(size, np.uint8).data)
    else:
        if correction is None or len(correction) != size:
            raise ProtocolError
        words, tables = _parts(groups, batch, correction)
    rank = None if at_once(groups) else draw_rank(step, batch * groups.candidates, stream)
    return PreparedTop(wide.prepare(step, words, stream), tables, rank)


async def evaluate(
    step: int,
    party: int,
    groups: Groups,
    m: Ring,
    prepared: PreparedTop,
    exchange: Exchange,
    compute: Compute,
) -> Ring:
    """XOR shares of the one-hot rows, (batch · keep · candidates,), each 0 or 1.

    A sample has, group by group, ``keep`` rows of a bit for each candidate of the group; m = y + λ
    may have any shape.

    Raises:
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    m = m.reshape(-1)
    form = (groups.candidates, groups.groups)
    rows = np.empty(m.size * groups.keep, np.uint64)
    seconds = m.size // groups.candidates * groups.pairs * _SECONDS_PER_PAIR
    differences = await compute.run(seconds, _differences, m, groups)
    ours, theirs = await wide.evaluate(step, party, differences, prepared.wide, exchange, compute)
    opened = np.empty(m.size, np.uint64)
    if prepared.rank is None:
        await compute.run(seconds, kernels.patterns, ours, theirs, np.uint64(0), *form, opened)
        kernels.read_winner(opened, prepared.tables, rows)
        return rows
    one, shares = np.uint64(1 - party), prepared.wide.words[wide.TOP]
    await compute.run(seconds, kernels.scores, ours, theirs, shares, one, *form, opened)
    # SECURITY: scores are ranks; each leaves under a fresh mask that is uniform modulo 2^b.
    message = (opened.astype(np.uint16) + prepared.rank) & _modulus(groups)
    received = await swap(exchange, round_tag(step, 2), message)
    opened = ((message + received) & _modulus(groups)).astype(np.uint64)
    kernels.read_ranks(opened, prepared.tables, *form, groups.keep, rows)
    return rows


def draw_rank(step: int, count: int, stream: Stream) -> Bits16:
    """Own masks t of scores."""
    masks = np.empty(count, np.uint16)
    stream.fill(step, Purpose.RANK, masks)
    return masks


def _modulus(groups: Groups) -> np.uint16:
    """2^b − 1: a table's places, less one."""
    return np.uint16(64 * table_words(groups) - 1)


def _differences(values: Ring, groups: Groups) -> Ring:
    out = np.empty(values.size // groups.candidates * groups.pairs, np.uint64)
    kernels.differences(values, groups.candidates, groups.groups, out)
    return out


def _draw(
    step: int, groups: Groups, batch: int, stream0: Stream, out: Payload
) -> tuple[Ring, Ring]:
    """Overwrite ``out``, which has ``correction_bytes``, with party 0's half; its parts."""
    # SECURITY: all of ``out`` is overwritten, so that nothing of an earlier use is left in it.
    split = wide.LAYOUT.correction_bytes(batch * groups.pairs)
    stream0.fill(step, Purpose.TOP_SHARES, np.ndarray(split, np.uint8, out))
    rest = len(out) - split
    stream0.fill(step, Purpose.TOP_TABLES, np.ndarray(rest, np.uint8, out, split))
    return _parts(groups, batch, out)


def _parts(groups: Groups, batch: int, buffer: Payload) -> tuple[Ring, Ring]:
    """The words of the comparisons, and the tables, in the buffer's memory."""
    pairs = batch * groups.pairs
    words, _ = wide.LAYOUT.parts(buffer, pairs)
    shape = (table_words(groups), batch * groups.candidates)
    return words, np.ndarray(shape, np.uint64, buffer, wide.LAYOUT.correction_bytes(pairs))

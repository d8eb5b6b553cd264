"""One private evaluation at one evaluator: of each part, a share of what its rows add up to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import ConflictError, InputError
from libmpc.ring import MASK
from libmpc.wire.evaluation import Evaluation, evaluation_digest

_OVERHEAD = 32  # of a part, in numbers


class Tally:
    """Nothing of it leaves but the sum over all parts, once, for the data holder's reply key.

    Args:
        model: digest (hex).
        output: what is counted.
        shape: what a sample adds to.
        reply_key: the one that every part names.
        now: seconds of a monotonic clock.

    Attributes:
        touched: when something of it came last.
        kept: numbers in memory for it.
        collected: the query numbers of the parts that the sum was made of, if it was.
        sealed: the sealed sum.
        turn: held while the sum is made.

    Raises:
        InputError: the cells do not fit the model.
    """

    def __init__(
        self,
        model: str,
        output: str,
        evaluation: Evaluation,
        shape: tuple[int, ...],
        reply_key: bytes,
        now: float,
    ) -> None:
        self.model = model
        self.output = output
        self.evaluation = evaluation
        self.reply_key = reply_key
        self.touched = now
        self.kept = 0
        self.collected: tuple[bytes, ...] = ()
        self.sealed: bytes | None = None
        self.turn = asyncio.Lock()
        self._cells = _cells(evaluation.cells, math.prod(shape))
        self._parts: dict[int, dict[bytes, tuple[bytes, NDArray[np.uint64]]]] = {}

    def __repr__(self) -> str:
        return f"<Tally, {len(self._parts)} of {self.evaluation.parts} parts>"

    def is_of(self, model: str, output: str, evaluation: Evaluation, reply_key: bytes) -> bool:
        """Whether a query belongs to it, and not to another evaluation of the same number."""
        ours = (self.model, self.output, self.evaluation, self.reply_key)
        return ours == (model, output, evaluation, reply_key)

    def add(self, index: int, number: bytes, digest: bytes, total: NDArray[np.uint64]) -> None:
        """Keep a part's sum under the number of the query that had its rows.

        A part may have been asked for more than once, where an answer was lost; the data holder
        says at the end which of its queries counts.
        """
        chosen = total.reshape(-1)[self._cells]
        self._parts.setdefault(index, {})[number] = (digest, chosen)
        self.kept += chosen.size + _OVERHEAD

    def total(self, numbers: Sequence[bytes]) -> tuple[bytes, NDArray[np.uint64]]:
        """The evaluation's digest, and our share of the sum over all parts.

        Args:
            numbers: of each part, in order, the query that counts.

        Raises:
            ConflictError: one of them has not been answered here.
        """
        found = []
        for index, number in enumerate(numbers):
            part = self._parts.get(index, {}).get(number)
            if part is None:
                raise ConflictError(
                    f"part {index} of the evaluation is missing here; send it again", status=409
                )
            found.append(part)
        # SECURITY: every row's share was re-randomised in its run, so the sum of them is, too.
        sums = np.zeros(self._cells.size, np.uint64)
        for _, chosen in found:
            sums += chosen
        parts = [(number, digest) for number, (digest, _) in zip(numbers, found, strict=True)]
        terms = (self.output, self.evaluation, self.reply_key)
        return evaluation_digest(self.model, *terms, parts), sums & MASK

    def answer(self, numbers: Sequence[bytes]) -> bytes | None:
        """The sealed sum over these parts, if it was made.

        Raises:
            ConflictError: it was made over others.
        """
        if self.sealed is not None and tuple(numbers) != self.collected:
            raise ConflictError("the evaluation's sum was made of other parts", status=409)
        return self.sealed

    def close(self, numbers: Sequence[bytes], sealed: bytes) -> None:
        """The sum is sealed: from now on these bytes are the answer, and the parts are gone."""
        self.collected, self.sealed = tuple(numbers), sealed
        self._parts.clear()
        self.kept = 0


def _cells(cells: bytes, count: int) -> NDArray[np.intp]:
    if count == 1:
        if cells:
            raise InputError("a count has no cells")
        return np.zeros(1, np.intp)
    bits = np.unpackbits(np.frombuffer(cells, np.uint8), bitorder="little")
    chosen = np.flatnonzero(bits)
    if len(cells) != -(-count // 8) or not chosen.size or chosen[-1] >= count:
        raise InputError("the cells that are asked for do not fit the model")
    return chosen

"""What makes a private evaluation's parts one, inside their sealed envelopes.

An evaluation is a list of parts of equal length, the last of which may be shorter. Each part is a
query whose answer stays with the evaluators; one more query collects the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from libmpc.outputs import MAX_SAMPLES
from libmpc.wire.context import context, sha256
from libmpc.wire.errors import WireError
from libmpc.wire.fields import MAX_BATCH

NUMBER_BYTES = 16
MAX_PARTS = 16384
MAX_CELL_BYTES = 512  # 64 labels, 64 indices
EVALUATED = ("count", "confusion")
"""Outputs that are not answers to a query."""
_HEAD_BYTES = NUMBER_BYTES + 14
_NOT_VALID = "the evaluation is not written as it should be"


@dataclass(frozen=True)
class Evaluation:
    """number (16) | samples u32 | rows u32 | index u32 | length of cells u16 | cells.

    All but the index is the same in every envelope of the evaluation.

    Attributes:
        number: random, known to the client and the evaluators only.
        samples: how many are counted together.
        rows: samples of each part; the last one has what is left.
        cells: of ``confusion``, which are opened: bit i mod 8 of byte ⌊i / 8⌋ for cell i, which is
            label·classes + index. Of ``count`` nothing.
    """

    number: bytes = field(repr=False)
    samples: int
    rows: int
    cells: bytes = b""

    @property
    def parts(self) -> int:
        """How many there are, numbered from 0 on."""
        return -(-self.samples // self.rows)

    def rows_of(self, index: int) -> int:
        """How many samples a part has."""
        return min(self.rows, self.samples - index * self.rows)

    def encode(self, index: int) -> bytes:
        """The bytes, with the part's index.

        Raises:
            WireError: a field is out of bounds.
        """
        self._check(index)
        numbers = b"".join(value.to_bytes(4, "big") for value in (self.samples, self.rows, index))
        return b"".join((self.number, numbers, len(self.cells).to_bytes(2, "big"), self.cells))

    @classmethod
    def parse(cls, data: memoryview) -> tuple[Self, int, memoryview]:
        """The evaluation, a part's index, and what comes behind.

        Raises:
            WireError: cut off, or a field is out of bounds.
        """
        if data.nbytes < _HEAD_BYTES:
            raise WireError(_NOT_VALID)
        samples, rows, index = (
            int.from_bytes(data[start : start + 4], "big") for start in (16, 20, 24)
        )
        end = _HEAD_BYTES + int.from_bytes(data[28:30], "big")
        if data.nbytes < end:
            raise WireError(_NOT_VALID)
        number, cells = bytes(data[:NUMBER_BYTES]), bytes(data[_HEAD_BYTES:end])
        found = cls(number, samples, rows, cells)
        found._check(index)
        return found, index, data[end:]

    def _check(self, index: int) -> None:
        if (
            len(self.number) != NUMBER_BYTES
            or not 1 <= self.samples <= MAX_SAMPLES
            or not 1 <= self.rows <= min(self.samples, MAX_BATCH)
            or not 0 <= index < self.parts <= MAX_PARTS
            or len(self.cells) > MAX_CELL_BYTES
        ):
            raise WireError(_NOT_VALID)


def evaluation_info(deployment: bytes, model: str, party: int, number: bytes) -> bytes:
    """The HPKE ``info`` of an evaluator's share of the sum.

    context("evaluation reply", deployment, model, party u8, number)
    """
    return context("evaluation reply", deployment, bytes.fromhex(model), bytes([party]), number)


def evaluation_digest(
    model: str,
    output: str,
    evaluation: Evaluation,
    reply_key: bytes,
    parts: Sequence[tuple[bytes, bytes]],
) -> bytes:
    """What an evaluator's share of the sum is of (32 bytes).

    SHA-256 of context("evaluation", model, output, the evaluation with index 0, reply key, then for
    each part its query number and its reply's digest)
    """
    fields = [bytes.fromhex(model), output.encode(), evaluation.encode(0), reply_key]
    for number, digest in parts:
        fields += [number, digest]
    return sha256(context("evaluation", *fields))

"""What the fake deployment does with a private evaluation: it adds up in the open."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.model import Model
from libmpc.graph.reference import run_reference
from libmpc.graph.tail import with_output
from libmpc.outputs import label_width
from libmpc.outputs import parse as parse_output
from libmpc.ring import MASK, pack, unpack, unpack_bits
from libmpc.sealing.seal import seal
from libmpc.shares import AdditiveShare, expand_bits, expand_seed, new_seed, reconstruct
from libmpc.wire import Kind, QueryHeader, QueryPlaintext, ReplyPlaintext, reply_info
from libmpc.wire.evaluation import NUMBER_BYTES, evaluation_digest, evaluation_info

Ring = NDArray[np.uint64]


def label_bits(model: Model, header: QueryHeader) -> int:
    """Of all labels of a part."""
    return header.batch * label_width(model.plan.output_shape[-1])


@dataclass
class Counting:
    """All evaluations.

    Attributes:
        parts: by evaluation, index and query number, digest and sums.
        add: what is added to every sum, where a test says so.
        forget: whether the last part of a sum is left out.
    """

    deployment: bytes
    parts: dict[bytes, dict[int, dict[bytes, tuple[bytes, Ring]]]] = field(default_factory=dict)
    add: int = 0
    forget: bool = False

    def reply(
        self, model: Model, header: QueryHeader, opened: list[QueryPlaintext]
    ) -> tuple[list[bytes], bytes]:
        """Both sealed replies to a part or to a request for the sum, and a part's seed."""
        first, second = opened
        assert first.evaluation == second.evaluation is not None
        assert (first.output, first.index) == (second.output, second.index)
        assert first.kind is not Kind.COLLECT or bytes(first.payload) == bytes(second.payload)
        if first.kind is Kind.COLLECT:
            return self._sum(header, opened), b""
        digest = self._part(model, header, opened)
        plain = ReplyPlaintext(digest, b"").encode()
        replies = []
        for party, one in enumerate(opened):
            info = reply_info(self.deployment, header.model, party, header.number)
            replies.append(seal(one.reply_key, info, plain))
        return replies, bytes(first.payload)

    def _part(self, model: Model, header: QueryHeader, opened: list[QueryPlaintext]) -> bytes:
        first, second = opened
        evaluation = first.evaluation
        assert evaluation is not None
        assert header.batch == evaluation.rows_of(first.index)
        size = label_bits(model, header)
        shape = (header.batch, size // header.batch)
        seed, packed = bytes(first.payload), memoryview(second.payload)
        x0 = expand_seed(seed, header.shape)
        x1 = unpack(packed[: 6 * header.values], header.values).reshape(header.shape)
        digits = expand_bits(seed, shape)
        digits ^= unpack_bits(packed[6 * header.values :], size).reshape(shape)
        plan = with_output(model.plan, parse_output(first.output))
        x = reconstruct(AdditiveShare(x0), AdditiveShare(x1))
        sums = run_reference(plan, model.weights, x, digits).sum(axis=0, dtype=np.uint64)
        chosen = sums.reshape(-1)
        if evaluation.cells:
            chosen = chosen[unpack_bits(evaluation.cells, chosen.size) == 1]
        digest = secrets.token_bytes(32)
        tries = self.parts.setdefault(evaluation.number, {}).setdefault(first.index, {})
        tries[bytes.fromhex(header.number)] = digest, chosen
        return digest

    def _sum(self, header: QueryHeader, opened: list[QueryPlaintext]) -> list[bytes]:
        evaluation, output, key = opened[0].evaluation, opened[0].output, opened[0].reply_key
        assert evaluation is not None
        payload = bytes(opened[0].payload)
        named = [payload[i : i + NUMBER_BYTES] for i in range(0, len(payload), NUMBER_BYTES)]
        if self.forget:
            named.pop()
        found = [self.parts[evaluation.number][i][number] for i, number in enumerate(named)]
        total = np.sum([sums for _, sums in found], axis=0, dtype=np.uint64)
        pairs = [(number, digest) for number, (digest, _) in zip(named, found, strict=True)]
        digest = evaluation_digest(header.model, output, evaluation, key, pairs)
        r = expand_seed(new_seed(), total.shape)
        halves = ((total + np.uint64(self.add % 2**64) - r) & MASK, r)
        replies = []
        for party, share in enumerate(halves):
            info = evaluation_info(self.deployment, header.model, party, evaluation.number)
            replies.append(seal(key, info, ReplyPlaintext(digest, pack(share)).encode()))
        return replies

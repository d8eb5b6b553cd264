"""A data holder that evaluates a model through ``triple``, one envelope at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from libmpc.answers import label_digits
from libmpc.fixedpoint import encode, to_signed
from libmpc.outputs import parse
from libmpc.ring import pack, pack_bits, unpack
from libmpc.sealing.open import open_sealed
from libmpc.sealing.seal import seal
from libmpc.shares import split, split_bits
from libmpc.wire.envelope import Kind, QueryPlaintext, ReplyPlaintext
from libmpc.wire.evaluation import Evaluation, evaluation_digest, evaluation_info
from libmpc.wire.headers import QueryHeader, query_info, reply_info
from tests.party.triple import Gateway, SealedQuery

CLASSES = 10


@dataclass
class Holder:
    """One evaluation.

    Attributes:
        answered: of each part that both evaluators have computed, query number and digest.
    """

    gateway: Gateway
    x: NDArray[np.float64]
    labels: NDArray[np.int64]
    rows: int
    output: str = "count"
    cells: bytes = b""
    number: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    answered: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.number, len(self.x), self.rows, self.cells)

    async def seal(
        self,
        index: int,
        *,
        evaluation: Evaluation | None = None,
        key: X25519PrivateKey | None = None,
        output: str | None = None,
        take: slice | None = None,
    ) -> SealedQuery:
        """A part; with the wrong evaluation, key, output or rows, where a test says so."""
        chosen = take or slice(index * self.rows, (index + 1) * self.rows)
        x, labels = self.x[chosen], self.labels[chosen]
        halves = split_bits(label_digits(labels, CLASSES))
        shares = split(encode(x))
        payloads = [
            bytes(pack(share.values)) + pack_bits(half)
            for share, half in zip(shares, halves, strict=True)
        ]
        terms = (output or self.output, evaluation or self.evaluation, index)
        return await self._seal(Kind.PACKED, payloads, tuple(x.shape), key or self.key, *terms)

    async def seal_collect(
        self,
        numbers: Sequence[bytes] | None = None,
        *,
        evaluation: Evaluation | None = None,
        key: X25519PrivateKey | None = None,
    ) -> SealedQuery:
        """The request for the sum."""
        ours = [self.answered[index][0] for index in sorted(self.answered)]
        payload = b"".join(ours if numbers is None else numbers)
        shape = (1, *self.x.shape[1:])
        terms = (self.output, evaluation or self.evaluation, 0)
        return await self._seal(Kind.COLLECT, [payload] * 2, shape, key or self.key, *terms)

    async def _seal(
        self,
        kind: Kind,
        payloads: Sequence[bytes],
        shape: tuple[int, ...],
        key: X25519PrivateKey,
        output: str,
        evaluation: Evaluation,
        index: int,
    ) -> SealedQuery:
        parties = self.gateway.parties
        descriptor = await self.gateway.describe()
        keys = [await self.gateway.key(p) for p in (0, 1)]
        header = QueryHeader(
            model=descriptor.model,
            number=secrets.token_hex(16),
            expires_ms=int(parties.clock.now() * 1000) + 60_000,
            shape=shape,
            key_ids=(keys[0].key_id, keys[1].key_id),
        )
        tag, public = secrets.token_bytes(16), key.public_key().public_bytes_raw()
        envelopes = []
        for party, payload in enumerate(payloads):
            plain = QueryPlaintext(tag, public, kind, payload, output, evaluation, index)
            info = query_info(parties.deployment.id, header, party)
            envelopes.append(seal(bytes.fromhex(keys[party].public_key), info, plain.encode()))
        return SealedQuery(header, envelopes, key, descriptor, parse(output))

    async def part(self, index: int) -> list[bytes]:
        """Have a part computed; what is in both replies."""
        query = await self.seal(index)
        (futures,) = await self.gateway.send([query])
        return self.note(index, query, await asyncio.gather(*futures))

    def note(self, index: int, query: SealedQuery, replies: Sequence[bytes]) -> list[bytes]:
        """Open both replies to a part and keep what they say."""
        deployment, model, number = self.gateway.parties.deployment.id, *_names(query)
        opened = [
            open_sealed(self.key, reply_info(deployment, model, party, number), reply)
            for party, reply in enumerate(replies)
        ]
        assert opened[0] == opened[1]
        self.answered[index] = (bytes.fromhex(number), opened[0])
        return opened

    async def parts(self) -> None:
        """Have all parts computed, the first before the others."""
        await self.part(0)
        await asyncio.gather(*map(self.part, range(1, self.evaluation.parts)))

    async def collect(self) -> NDArray[np.int64]:
        """The numbers asked for."""
        query = await self.seal_collect()
        (futures,) = await self.gateway.send([query])
        return self.open(query, await asyncio.gather(*futures))

    def open(self, query: SealedQuery, replies: Sequence[bytes]) -> NDArray[np.int64]:
        """Add up both evaluators' shares, which must be of what was answered."""
        deployment, model, _ = self.gateway.parties.deployment.id, *_names(query)
        parts = [self.answered[index] for index in sorted(self.answered)]
        public = self.key.public_key().public_bytes_raw()
        wanted = evaluation_digest(model, self.output, self.evaluation, public, parts)
        total = np.zeros(1, np.uint64)
        for party, reply in enumerate(replies):
            info = evaluation_info(deployment, model, party, self.number)
            opened = open_sealed(self.key, info, reply)
            count = (len(opened) - 32) // 6
            plain = ReplyPlaintext.parse(opened, count)
            assert plain.run_digest == wanted
            total = total + unpack(plain.share, count)
        return to_signed(total)


def _names(query: SealedQuery) -> tuple[str, str]:
    return query.header.model, query.header.number

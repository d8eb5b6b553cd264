"""What a private evaluation sends, sealed: its parts, and the request for the sum."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libmpc.client.card import ModelCard
from libmpc.client.sealed import open_both, seal_both
from libmpc.errors import IntegrityError
from libmpc.fixedpoint import to_signed
from libmpc.ring.packing import pack, pack_bits, unpack
from libmpc.sealing.open import ReplyKey
from libmpc.sealing.seal import OVERHEAD
from libmpc.shares import expand_bits, new_seed, split_with_seed
from libmpc.wire.envelope import DIGEST_BYTES, TAG_BYTES, VALUE_BYTES, Kind, QueryPlaintext
from libmpc.wire.evaluation import Evaluation, evaluation_digest, evaluation_info
from libmpc.wire.fields import BytesLike
from libmpc.wire.headers import QueryHeader, reply_info

Ring = NDArray[np.uint64]


@dataclass(frozen=True)
class Terms:
    """What all envelopes of an evaluation say."""

    output: str
    evaluation: Evaluation
    key: ReplyKey = field(repr=False)

    def plain(self, tag: bytes, kind: Kind, payload: BytesLike, index: int = 0) -> bytes:
        """What is sealed."""
        key = self.key.public
        plain = QueryPlaintext(tag, key, kind, payload, self.output, self.evaluation, index)
        return plain.encode()


def seal_part(
    deployment: bytes,
    card: ModelCard,
    terms: Terms,
    encoded: Ring,
    digits: Ring,
    index: int,
    now: float,
) -> SealedPart:
    """Share and seal a part. All in it but the terms is fresh at each call.

    Args:
        encoded: (rows, *input_shape) at scale 2^16.
        digits: of the labels, (rows, width).
        index: which part.
        now: Unix seconds.

    Raises:
        IntegrityError: a key cannot be sealed to.
    """
    # SECURITY: a new seed for every sealing, retries included.
    seed, tag = new_seed(), secrets.token_bytes(TAG_BYTES)
    difference, _ = split_with_seed(encoded, seed)
    other = pack(difference.values) + pack_bits(digits ^ expand_bits(seed, digits.shape))
    plain = [terms.plain(tag, Kind.SEED, seed, index), terms.plain(tag, Kind.PACKED, other, index)]
    header, envelopes = seal_both(deployment, card, encoded.shape, plain, now)
    return SealedPart(header, envelopes, deployment, terms)


def seal_sum(
    deployment: bytes,
    card: ModelCard,
    terms: Terms,
    parts: Sequence[tuple[bytes, bytes]],
    count: int,
    now: float,
) -> SealedSum:
    """Ask for the sum over these parts.

    Args:
        parts: of each, the number of the query that was answered, and its digest.
        count: how many numbers the sum has.
        now: Unix seconds.

    Raises:
        IntegrityError: a key cannot be sealed to.
    """
    digest = evaluation_digest(
        card.descriptor.model, terms.output, terms.evaluation, terms.key.public, parts
    )
    numbers = b"".join(number for number, _ in parts)
    plain = terms.plain(secrets.token_bytes(TAG_BYTES), Kind.COLLECT, numbers)
    # There is no input; the least that a header can speak of is one sample.
    shape = (1, *card.descriptor.input_shape)
    header, envelopes = seal_both(deployment, card, shape, (plain, plain), now)
    return SealedSum(header, envelopes, deployment, terms, digest, count)


@dataclass(frozen=True)
class SealedPart:
    """One part that can be sent once."""

    header: QueryHeader
    envelopes: tuple[bytes, bytes] = field(repr=False)
    deployment: bytes = field(repr=False)
    terms: Terms = field(repr=False)

    @property
    def reply_bytes(self) -> int:
        """How long each sealed reply must be."""
        return OVERHEAD + DIGEST_BYTES

    def open(self, reply0: bytes, reply1: bytes) -> tuple[bytes, bytes]:
        """This query's number, and the digest of the run that has answered it at both evaluators.

        Raises:
            IntegrityError: as ``open_both``.
        """
        model, number = self.header.model, self.header.number
        infos = [reply_info(self.deployment, model, party, number) for party in (0, 1)]
        first, _ = open_both(self.terms.key, infos, (reply0, reply1), 0)
        return bytes.fromhex(number), first.run_digest


@dataclass(frozen=True)
class SealedSum:
    """A request for the sum that can be sent once."""

    header: QueryHeader
    envelopes: tuple[bytes, bytes] = field(repr=False)
    deployment: bytes = field(repr=False)
    terms: Terms = field(repr=False)
    digest: bytes = field(repr=False)
    count: int

    @property
    def reply_bytes(self) -> int:
        """How long each sealed reply must be."""
        return OVERHEAD + DIGEST_BYTES + VALUE_BYTES * self.count

    def open(self, reply0: bytes, reply1: bytes) -> NDArray[np.int64]:
        """The numbers asked for, (count,).

        Raises:
            IntegrityError: as ``open_both``, or it is a sum over something else.
        """
        model, number = self.header.model, self.terms.evaluation.number
        infos = [evaluation_info(self.deployment, model, party, number) for party in (0, 1)]
        first, second = open_both(self.terms.key, infos, (reply0, reply1), self.count)
        # SECURITY: over exactly the parts that were answered, in their order, and no others.
        if not hmac.compare_digest(first.run_digest, self.digest):
            raise IntegrityError("the evaluators' sum is over other parts than were sent to them")
        total = unpack(first.share, self.count) + unpack(second.share, self.count)
        return to_signed(total)

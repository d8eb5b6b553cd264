"""One query as it leaves and comes back: two sealed shares out, two sealed shares in.

1. x = x0 + x1: party 0 is sent a fresh 32-byte seed that expands to x0, party 1 the packed x - x0.
2. Both envelopes hold the same secret tag and the public half of a fresh reply key.
3. Each evaluator seals (run digest, its share of y) to the reply key; y = y0 + y1 at scale 2^32.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libmpc.answers import Answer, combine
from libmpc.client.card import ModelCard
from libmpc.errors import InputError, IntegrityError
from libmpc.inputs import check_inputs
from libmpc.outputs import LOGITS, OutputKind, answer_shape
from libmpc.ring.packing import pack, unpack
from libmpc.sealing.errors import SealError
from libmpc.sealing.open import ReplyKey
from libmpc.sealing.seal import OVERHEAD, seal
from libmpc.shares import new_seed, split_with_seed
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.envelope import (
    DIGEST_BYTES,
    TAG_BYTES,
    VALUE_BYTES,
    Kind,
    QueryPlaintext,
    ReplyPlaintext,
)
from libmpc.wire.errors import WireError
from libmpc.wire.fields import MAX_BATCH
from libmpc.wire.headers import MAX_QUERY_VALUES, QueryHeader, query_info, reply_info
from libmpc.wire.lifetime import to_millis

LIFETIME_SECONDS = 300


@dataclass(frozen=True)
class SealedQuery:
    """A query that can be sent once, and what is needed to open the answers.

    Attributes:
        envelopes: for party 0 and party 1.
        output_shape: of the shares of the answer, batch first.
        kind: what the answer is made of.
    """

    deployment: bytes = field(repr=False)
    header: QueryHeader
    envelopes: tuple[bytes, bytes] = field(repr=False)
    output_shape: tuple[int, ...]
    kind: OutputKind
    _reply_key: ReplyKey = field(repr=False)

    @property
    def reply_bytes(self) -> int:
        """How long each sealed reply must be."""
        return OVERHEAD + DIGEST_BYTES + VALUE_BYTES * math.prod(self.output_shape)

    def open(self, reply0: bytes, reply1: bytes) -> Answer:
        """Open both replies and put the answer together.

        Returns:
            The answer, as ``libmpc.answers.combine`` says.

        Raises:
            IntegrityError: a reply is not for this query, was changed or cut off, or the two
                evaluators answer from different computations.
        """
        count = math.prod(self.output_shape)
        model, number = self.header.model, self.header.number
        infos = [reply_info(self.deployment, model, party, number) for party in (0, 1)]
        both = open_both(self._reply_key, infos, (reply0, reply1), count)
        y0, y1 = (unpack(reply.share, count).reshape(self.output_shape) for reply in both)
        return combine(self.kind, y0, y1)


def encode_batch(descriptor: Descriptor, x: object) -> NDArray[np.uint64]:
    """Check a batch and encode it at scale 2^16.

    Raises:
        InputError: it does not fit the model, or is too large for one query.
    """
    encoded = check_inputs(x, shape=descriptor.input_shape, input_range=descriptor.input_range)
    if len(encoded) > MAX_BATCH or encoded.size > MAX_QUERY_VALUES:
        most = min(MAX_BATCH, MAX_QUERY_VALUES * len(encoded) // encoded.size)
        raise InputError(
            f"a query has at most {MAX_BATCH} samples and {MAX_QUERY_VALUES} values, this one "
            f"{len(encoded)} and {encoded.size}: split the batch into parts of {most} samples, "
            "as query_many does"
        )
    return encoded


def seal_query(
    deployment: bytes,
    card: ModelCard,
    encoded: NDArray[np.uint64],
    now: float,
    kind: OutputKind = LOGITS,
) -> SealedQuery:
    """Share and seal an encoded batch. Everything random in it is fresh at each call.

    Args:
        deployment: the deployment's id.
        encoded: (batch, *input_shape) at scale 2^16, modulo 2^48.
        now: Unix seconds; the envelopes expire five minutes later.
        kind: what the answer is to be made of.

    Raises:
        IntegrityError: a key cannot be sealed to.
        InputError: the model has no such answers.
    """
    output_shape = (encoded.shape[0], *answer_shape(kind, card.descriptor.output_shape))
    # SECURITY: a new seed and a new reply key for every sealing, retries included: two sealings of
    # one input under one seed would differ in nothing that hides it.
    seed, reply_key = new_seed(), ReplyKey.generate()
    difference, _ = split_with_seed(encoded, seed)
    payloads = (Kind.SEED, seed), (Kind.PACKED, pack(difference.values))
    tag = secrets.token_bytes(TAG_BYTES)
    plain = [
        QueryPlaintext(tag, reply_key.public, form, payload, str(kind)).encode()
        for form, payload in payloads
    ]
    header, envelopes = seal_both(deployment, card, encoded.shape, plain, now)
    return SealedQuery(deployment, header, envelopes, output_shape, kind, reply_key)


def seal_both(
    deployment: bytes, card: ModelCard, shape: tuple[int, ...], plain: Sequence[bytes], now: float
) -> tuple[QueryHeader, tuple[bytes, bytes]]:
    """A header with a fresh number, and an envelope for each evaluator.

    Args:
        shape: of the input, batch first.
        plain: what is to be sealed for party 0 and for party 1.
        now: as for ``seal_query``.

    Raises:
        IntegrityError: a key cannot be sealed to.
    """
    keys = card.keys[0], card.keys[1]
    header = QueryHeader(
        model=card.descriptor.model,
        number=secrets.token_hex(16),
        expires_ms=min(
            to_millis(now) + LIFETIME_SECONDS * 1000, *(key.not_after_ms for key in keys)
        ),
        shape=shape,
        key_ids=(keys[0].key_id, keys[1].key_id),
    )
    envelopes = []
    for party, key in enumerate(keys):
        info = query_info(deployment, header, party)
        try:
            envelopes.append(seal(bytes.fromhex(key.public_key), info, plain[party]))
        except SealError as error:
            raise IntegrityError(f"party {party}'s key cannot be used: {error}") from None
    return header, (envelopes[0], envelopes[1])


def open_both(
    key: ReplyKey, infos: Sequence[bytes], replies: Sequence[bytes], values: int
) -> tuple[ReplyPlaintext, ReplyPlaintext]:
    """Both evaluators' replies, which must be of one computation.

    Args:
        infos: of party 0's and party 1's reply.
        values: ring values in each.

    Raises:
        IntegrityError: a reply is not for this query, was changed or cut off, or the two
            evaluators answer from different computations.
    """
    opened = []
    for party in (0, 1):
        try:
            plain = key.open(infos[party], replies[party])
            opened.append(ReplyPlaintext.parse(plain, values))
        except (SealError, WireError):
            raise IntegrityError(
                f"party {party}'s answer cannot be opened: it is for another query, or was "
                "changed or cut off on its way"
            ) from None
    # SECURITY: shares of different runs add up to noise at best. The digest covers the bundle,
    # the model, and this query's number and secret tag at each evaluator.
    if not hmac.compare_digest(opened[0].run_digest, opened[1].run_digest):
        raise IntegrityError(
            "the two evaluators answered from different computations, so there is no answer; "
            "if it happens again, tell both parties' operators"
        )
    return opened[0], opened[1]

"""What is inside sealed envelopes. Payloads are not copied on parsing: they are views."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from libmpc.wire.errors import WireError
from libmpc.wire.evaluation import EVALUATED, NUMBER_BYTES, Evaluation
from libmpc.wire.fields import MAX_OUTPUT, BytesLike
from libmpc.wire.manifest import Manifest
from libmpc.wire.signed import SIGNATURE_BYTES, Signed

VALUE_BYTES = 6
SEED_BYTES = 32
TAG_BYTES = 16
KEY_BYTES = 32
DIGEST_BYTES = 32
QUERY_HEAD_BYTES = TAG_BYTES + KEY_BYTES + 1
OTHER_OUTPUT = 0x80
LOGITS = "logits"
MAX_MESSAGE_BYTES = 1 << 30
"""Longest message that a party takes: a sealed push and what goes before it."""
MAX_SHARE_BYTES = MAX_MESSAGE_BYTES - (16 << 20)
"""Longest share; a manifest and headers fit beside it."""


class Kind(IntEnum):
    """How an input share is given; ``COLLECT`` has none and asks for an evaluation's sum."""

    SEED = 0
    PACKED = 1
    COLLECT = 2


@dataclass(frozen=True)
class QueryPlaintext:
    """tag (16) | reply public key (32) | kind u8 | payload.

    Where another output than the logits is asked for, 128 is added to the kind, and between it and
    the payload lies the output: length u8 | ASCII text. Behind ``count`` and ``confusion`` follows
    an ``Evaluation`` with this part's index. SECURITY: sealed in both envelopes, so that nobody on
    the way sees it, or asks for more than the client did.

    Attributes:
        tag: secret, the same in both envelopes of a query; goes into the run digest.
        reply_key: X25519 key to which the evaluator seals its reply.
        kind: ``SEED``: the payload is a 32-byte seed; ``PACKED``: ring values, 6 bytes each, and
            of an evaluation's part then the labels' bits; ``COLLECT``: query numbers of all parts.
        output: what the answer is to be made of (see ``libmpc.outputs``).
        evaluation: what this query is a part of.
        index: which part.
    """

    tag: bytes = field(repr=False)
    reply_key: bytes = field(repr=False)
    kind: Kind
    payload: BytesLike = field(repr=False)
    output: str = LOGITS
    evaluation: Evaluation | None = None
    index: int = 0

    def encode(self) -> bytes:
        """The plaintext's bytes.

        Raises:
            WireError: a part has the wrong length.
        """
        if len(self.tag) != TAG_BYTES or len(self.reply_key) != KEY_BYTES:
            raise WireError("a query's tag has 16 bytes, its reply key 32")
        self._check()
        form = bytes([self.kind])
        if self.output != LOGITS:
            text = self.output.encode()
            if not 0 < len(text) <= MAX_OUTPUT or not text.isascii():
                raise WireError(f"an output has at most {MAX_OUTPUT} ASCII characters")
            form = bytes([self.kind | OTHER_OUTPUT, len(text)]) + text
        if self.evaluation is not None:
            form += self.evaluation.encode(self.index)
        return b"".join((self.tag, self.reply_key, form, self.payload))

    def _check(self) -> None:
        size, evaluation = memoryview(self.payload).nbytes, self.evaluation
        if (evaluation is None) != (self.output not in EVALUATED):
            raise WireError("an evaluation is there where the output is counted, and only there")
        if self.kind is Kind.COLLECT:
            fits = evaluation is not None and size == NUMBER_BYTES * evaluation.parts
        elif self.kind is Kind.SEED:
            fits = size == SEED_BYTES
        else:
            fits = size > 0 and (evaluation is not None or size % VALUE_BYTES == 0)
        if not fits:
            raise WireError("a query's payload is a seed of 32 bytes, or 6 bytes for each value")

    @classmethod
    def parse(cls, data: BytesLike, values: int, label_bits: int = 0) -> Self:
        """Read an opened query for an input of ``values`` ring values (the header's).

        Args:
            label_bits: of all its samples' labels, if it is an evaluation's part.

        Raises:
            WireError: another length than that asks for, or an unknown kind.
        """
        view = memoryview(data)
        if view.nbytes < QUERY_HEAD_BYTES:
            raise WireError("a query's plaintext is too short")
        try:
            kind = Kind(view[QUERY_HEAD_BYTES - 1] & ~OTHER_OUTPUT)
        except ValueError:
            raise WireError("a query's share is of an unknown kind") from None
        output, payload = LOGITS, view[QUERY_HEAD_BYTES:]
        evaluation, index, more = None, 0, 0
        if view[QUERY_HEAD_BYTES - 1] & OTHER_OUTPUT:
            output, payload = _output(payload)
        if output in EVALUATED:
            evaluation, index, payload = Evaluation.parse(payload)
            more = -(-label_bits // 8)
        sizes = {Kind.SEED: SEED_BYTES, Kind.PACKED: VALUE_BYTES * values + more}
        if evaluation is not None:
            sizes[Kind.COLLECT] = NUMBER_BYTES * evaluation.parts
        if kind not in sizes:
            raise WireError("a query's share is of an unknown kind")
        if payload.nbytes != sizes[kind]:
            raise WireError("a query's share does not have the length that its shape asks for")
        tag, reply_key = bytes(view[:TAG_BYTES]), bytes(view[TAG_BYTES : QUERY_HEAD_BYTES - 1])
        return cls(tag, reply_key, kind, payload, output, evaluation, index)


def _output(data: memoryview) -> tuple[str, memoryview]:
    """The output, and what comes behind it."""
    size = data[0] if data.nbytes else 0
    text = bytes(data[1 : 1 + size])
    if not 0 < size <= MAX_OUTPUT or len(text) != size or not text.isascii() or text == b"logits":
        raise WireError("a query's output is not written as it should be")
    return text.decode(), data[1 + size :]


@dataclass(frozen=True)
class PushPlaintext:
    """manifest length u32 | manifest | signature (64) | share payload.

    The share's length is whatever is left: ``Manifest.check_share`` decides on it.
    """

    manifest: Signed
    share: BytesLike = field(repr=False)

    def encode(self) -> bytes:
        """The plaintext's bytes.

        Raises:
            WireError: the manifest or the share is too long, or empty.
        """
        size, share = len(self.manifest.document), memoryview(self.share).nbytes
        if size > Manifest.MAX_BYTES or not 0 < share <= MAX_SHARE_BYTES:
            raise WireError("the manifest or the share is too long to push, or empty")
        head = (size.to_bytes(4, "big"), self.manifest.document, self.manifest.signature)
        return b"".join((*head, self.share))

    @classmethod
    def parse(cls, data: BytesLike) -> Self:
        """Read an opened push; the manifest is neither verified nor parsed yet.

        Raises:
            WireError: a length is out of bounds.
        """
        view = memoryview(data)
        if view.nbytes < 4:
            raise WireError("a push's plaintext is too short")
        size = int.from_bytes(view[:4], "big")
        end = 4 + size
        share = view[end + SIGNATURE_BYTES :]
        if not 0 < size <= Manifest.MAX_BYTES or not 0 < share.nbytes <= MAX_SHARE_BYTES:
            raise WireError("a push's manifest or share is missing, cut off or too long")
        signature = bytes(view[end : end + SIGNATURE_BYTES])
        return cls(Signed(document=bytes(view[4:end]), signature=signature), share)


@dataclass(frozen=True)
class ReplyPlaintext:
    """run digest (32) | output share, packed; of an evaluation's part there is no share.

    Attributes:
        run_digest: equal in both replies to a query, or the client uses neither.
    """

    run_digest: bytes
    share: BytesLike = field(repr=False)

    def encode(self) -> bytes:
        """The plaintext's bytes.

        Raises:
            WireError: a part has the wrong length.
        """
        size = memoryview(self.share).nbytes
        if len(self.run_digest) != DIGEST_BYTES or size % VALUE_BYTES:
            raise WireError("a reply has a digest of 32 bytes and 6 bytes for each value")
        return b"".join((self.run_digest, self.share))

    @classmethod
    def parse(cls, data: BytesLike, values: int) -> Self:
        """Read an opened reply that must have ``values`` ring values.

        Raises:
            WireError: another length.
        """
        view = memoryview(data)
        if view.nbytes != DIGEST_BYTES + VALUE_BYTES * values:
            raise WireError("a reply does not have the length that the model's output asks for")
        return cls(bytes(view[:DIGEST_BYTES]), view[DIGEST_BYTES:])

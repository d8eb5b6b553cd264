"""The opening half: parties open queries and pushes with it, clients open replies."""

from __future__ import annotations

from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.sealing.errors import SealError
from libmpc.sealing.seal import OVERHEAD, suite
from libmpc.wire.fields import BytesLike


def open_sealed(private_key: X25519PrivateKey, info: bytes, envelope: BytesLike) -> bytes:
    """Open an envelope that was sealed to this key under this ``info``.

    Raises:
        SealError: it was not, or was changed on its way. SECURITY: one message for every reason,
            so that an answer tells a sender nothing about what was inside.
    """
    try:
        if len(envelope) >= OVERHEAD:
            return suite().decrypt(envelope, private_key, info=info)
    except (InvalidTag, ValueError):
        pass
    raise SealError("the envelope cannot be opened")


class ReplyKey:
    """A client's key for the replies to one query; its public half goes into both envelopes."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Make a key; one for each query, never used again."""
        return cls(X25519PrivateKey.generate())

    def open(self, info: bytes, envelope: BytesLike) -> bytes:
        """Open a reply.

        Raises:
            SealError: it is not a reply to this query.
        """
        return open_sealed(self._private, info, envelope)

    def __repr__(self) -> str:
        return "ReplyKey()"

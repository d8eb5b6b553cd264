"""Ed25519 signatures over wire documents, each under the label of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeAlias, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from libmpc.errors import ConfigError, IntegrityError
from libmpc.wire.context import context
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.document import Document
from libmpc.wire.signed import Signed

DocumentT = TypeVar("DocumentT", bound=Document)
#: an Ed25519 key (32 bytes), or several of which any will do, while one is being replaced
PublicKeys: TypeAlias = bytes | Sequence[bytes]


class SigningKey:
    """An Ed25519 private key, a party's or an owner's."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """Read a key from its 32 bytes.

        Raises:
            ConfigError: another length.
        """
        if len(secret) != 32:
            raise ConfigError("a signing key has 32 bytes; make new credentials")
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key itself, for writing it to its file."""
        return self._key

    def sign(self, label: str, document: bytes) -> Signed:
        """Sign context(label, document).

        SECURITY: the label is part of what is signed, so that one kind of document can never pass
        for another.
        """
        return Signed(document=document, signature=self._key.sign(context(label, document)))

    def sign_document(self, document: Document) -> Signed:
        """Encode a document and sign it under its own label."""
        return self.sign(document.LABEL, document.encode())

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def verify(public_key: PublicKeys, label: str, signed: Signed) -> bytes:
    """Check a signature and return the document's bytes, which may be parsed now.

    Raises:
        IntegrityError: no such key signed these bytes under this label.
    """
    keys = (public_key,) if isinstance(public_key, bytes) else public_key
    if not any(_signed_by(key, label, signed) for key in keys):
        raise IntegrityError(
            f"the signature of a {label} is not valid: it was changed on its way, or comes from "
            "somebody else than the deployment file names"
        )
    return signed.document


def _signed_by(public_key: bytes, label: str, signed: Signed) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(signed.signature, context(label, signed.document))
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_document(public_key: PublicKeys, kind: type[DocumentT], signed: Signed) -> DocumentT:
    """Check a signature under the document's own label, then parse it.

    Raises:
        IntegrityError: the signature is not valid.
        WireError: it is, but the document is not.
    """
    return kind.parse(verify(public_key, kind.LABEL, signed))


def verify_descriptor(
    signing_keys: Sequence[PublicKeys], signed: Sequence[Signed], deployment: bytes, name: str
) -> Descriptor:
    """Believe a model's descriptor: both evaluators signed the same bytes, for this name.

    Args:
        signing_keys: of party 0 and party 1, as the deployment file pins them.
        signed: their descriptors, in the same order.
        deployment: the deployment's id (16 bytes).
        name: the model that was asked for.

    Raises:
        IntegrityError: a signature is missing or not valid, the two differ, or they describe
            another deployment's or another name's model.
        WireError: they are signed but no descriptor.
    """
    if len(signing_keys) != 2 or len(signed) != 2:
        raise IntegrityError("a descriptor needs the signatures of both evaluators")
    # SECURITY: one evaluator alone must not be able to give a client another model's digest,
    # shape or range, so the bytes are equal and both signatures count.
    first, second = (
        verify(key, Descriptor.LABEL, one) for key, one in zip(signing_keys, signed, strict=True)
    )
    if first != second:
        raise IntegrityError("the evaluators describe the model differently; try again later")
    descriptor = Descriptor.parse(first)
    if (descriptor.deployment, descriptor.name) != (deployment.hex(), name):
        raise IntegrityError("the descriptor is for another model or another deployment")
    return descriptor

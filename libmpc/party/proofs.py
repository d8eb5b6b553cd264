"""What a party asks to see before it stores or changes anything: signatures and receipts."""

from __future__ import annotations

from collections.abc import Sequence

from libmpc.deployment import Deployment
from libmpc.errors import AuthenticationError, ConflictError, IntegrityError, LibmpcError
from libmpc.identity.signing import verify
from libmpc.party.records import Record
from libmpc.wire.lifetime import check_lifetime
from libmpc.wire.manifest import Manifest, model_digest
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed


def pushed_manifest(deployment: Deployment, signed: Signed, now: float) -> Manifest:
    """The manifest of a push, from an owner of this deployment, at this time.

    Raises:
        AuthenticationError: an unknown owner, or not signed by it.
        ConflictError: another deployment's, or expired.
    """
    manifest = Manifest.parse(signed.document)
    if manifest.deployment != deployment.id.hex():
        raise ConflictError("the manifest is for another deployment", status=409)
    if deployment.owners and manifest.owner not in deployment.owners:
        raise AuthenticationError("this deployment does not know the owner's key", status=403)
    check_owner(manifest.owner, "manifest", signed)
    check_lifetime("push", manifest.issued_ms, manifest.expires_ms, now)
    return manifest


def stored_manifest(record: Record) -> Manifest:
    """The manifest of a stored model.

    Raises:
        IntegrityError: it is not the one that was stored.
    """
    if model_digest(record.manifest).hex() != record.model:
        raise IntegrityError("its stored manifest is damaged", status=503, code="damaged")
    return Manifest.parse(record.manifest)


def owner_of(record: Record) -> str | None:
    """The key (hex) of a stored model's owner; ``None`` where the manifest is damaged."""
    try:
        return stored_manifest(record).owner
    except LibmpcError:
        return None


def check_receipts(deployment: Deployment, model: str, receipts: Sequence[Signed]) -> None:
    """See that all three parties have said that they keep their share of a model.

    Raises:
        IntegrityError: they have not.
    """
    # SECURITY: all three, each by its own party: a model is in force only where every party
    # has its share, whatever a gateway says.
    if len(receipts) != 3:
        raise IntegrityError("a commit needs three receipts", status=400)
    for party, signed in zip(deployment.parties, receipts, strict=True):
        receipt = Receipt.parse(verify(party.signing_keys, Receipt.LABEL, signed))
        if (receipt.party, receipt.model) != (party.index, model):
            raise IntegrityError("a receipt is for another push", status=400)


def check_owner(key: str, label: str, signed: Signed) -> None:
    """Check a signature with an owner's key (hex).

    Raises:
        AuthenticationError: it is not this owner's.
    """
    try:
        verify(bytes.fromhex(key), label, signed)
    except IntegrityError:
        raise AuthenticationError("the owner's signature is not valid", status=403) from None

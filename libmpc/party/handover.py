"""What one process of a party hands over to another one: its models in force, with their shares.

Triple 0 is managed; the party's processes in other triples, its *replicas*, hold what it holds.
Messages between the two, at most one request at a time::

    MIRROR   replica → primary   MirrorRequest
             back                MirrorReport
    CHANGED  primary → replica   nothing: ask again
    FETCH    replica → primary   model (32)
    SHARE    back, step HEADER   u32 length | ShareHeader | manifest
                   step PIECE    a piece of the share file, as it is stored
                   step END      nothing: that was the last piece
                   step GONE     nothing: this share is not to be had

SECURITY: the share file travels as it is stored, encrypted under the organisation's storage key,
within the link. Whoever has got hold of its handshake key alone, and takes a replica's place with
it, gets nothing that he could read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import FailFast, Field

from libmpc.deployment import Deployment
from libmpc.errors import ConflictError, IntegrityError
from libmpc.identity.signing import SigningKey
from libmpc.party.entry import Entry, load_entry
from libmpc.party.messages import MAX_MODELS, Commit, Control
from libmpc.party.proofs import check_owner
from libmpc.party.store import Record, Store
from libmpc.wire.command import Command
from libmpc.wire.fields import Base64, Hex8, Hex32
from libmpc.wire.manifest import Manifest, model_digest
from libmpc.wire.signed import Signed

HEADER, PIECE, END, GONE = range(4)

Version = Annotated[int, Field(ge=0, le=1 << 62)]


class MirrorRequest(Control):
    """A replica asks what is in force.

    ``known``: the version that it has already, 0 for none. ``extra``: models that it holds and
    that the last report did not have.
    """

    known: Version
    extra: Annotated[tuple[Hex32, ...], Field(max_length=MAX_MODELS), FailFast()] = ()


class ModelInForce(Control):
    """A model, and its owner's last command if there was one."""

    model: Hex32
    command: Signed | None


class MirrorReport(Control):
    """All models in force; none, but ``even``, where the replica has this version already.

    ``version`` rises with every change while a process runs. ``gone``: which of the extra ones
    were deleted, with the owner's command, or replaced, without one.
    """

    version: Version
    even: bool
    models: Annotated[tuple[ModelInForce, ...], Field(max_length=MAX_MODELS), FailFast()]
    gone: Annotated[tuple[ModelInForce, ...], Field(max_length=MAX_MODELS), FailFast()]


class ShareHeader(Control):
    """What goes before a share file: the owner's signature over the manifest, the receipts, the
    key record, and the primary's proof that the model is in force there.
    """

    signature: Base64
    certificate: Commit
    key_record: Base64
    key_id: Hex8
    voucher: Hex32


@dataclass(frozen=True)
class Handed:
    """A share as it has come, not yet believed."""

    header: ShareHeader
    manifest: bytes
    file: bytearray


def header_of(store: Store, record: Record, key_record: bytes) -> ShareHeader:
    """The header of a model that is in force here."""
    key_id, voucher = store.vouch(record)
    return ShareHeader(
        signature=record.signature,
        certificate=Commit.parse(record.certificate or b""),
        key_record=key_record,
        key_id=key_id.hex(),
        voucher=voucher.hex(),
    )


def check_record(
    deployment: Deployment,
    store: Store,
    wanted: ModelInForce,
    header: ShareHeader,
    document: bytes,
) -> Record:
    """The record of a model that another process of this party has in force.

    Raises:
        IntegrityError: it is not the one that was asked for, or not in force there.
        AuthenticationError: manifest or command are not the owner's.
        ConflictError: they are another deployment's or another model's.
        ConfigError: it is under a storage key that is not there.
    """
    if model_digest(document).hex() != wanted.model:
        raise IntegrityError("the primary sent another model than it was asked for", status=422)
    manifest = Manifest.parse(document)
    signed = Signed(document=document, signature=header.signature)
    check_owner(manifest.owner, "manifest", signed)
    if manifest.deployment != deployment.id.hex():
        raise ConflictError("the manifest is for another deployment", status=409)
    record = Record(
        model=wanted.model,
        name=manifest.name,
        state="stored",
        manifest=document,
        signature=header.signature,
        expires_ms=manifest.expires_ms,
        certificate=header.certificate.encode(),
        serving=manifest.serve,
        num_requests=manifest.num_requests,
    )
    # SECURITY: in force only where the organisation's own storage key says so. The primary has
    # checked the receipts when it put the model in force; by now the keys that signed them may
    # have been replaced, so they cannot be what a replica of today goes by.
    key_id, voucher = bytes.fromhex(header.key_id), bytes.fromhex(header.voucher)
    if not store.check_vouched(record, key_id, voucher):
        raise IntegrityError("the primary's proof that the model is in force is wrong", status=422)
    if wanted.command is not None:
        return _commanded(deployment, record, manifest, wanted.command)
    return record


def check_share(
    index: int, signing: SigningKey, store: Store, record: Record, key_record: bytes, file: bytes
) -> tuple[Entry, bytearray]:
    """The model ready to be computed with, and its share. Takes seconds for a large model.

    Raises:
        IntegrityError: the share is not the one that the owner's manifest names.
        InputError: it cannot be used.
        ConfigError: it is under a storage key that is not there.
    """
    payload = store.unseal(record, key_record, file)
    return load_entry(index, signing, record, memoryview(payload)), payload


def _commanded(
    deployment: Deployment, record: Record, manifest: Manifest, signed: Signed
) -> Record:
    # SECURITY: in the same step as the model itself, so that a model that is stopped or has a
    # limit is never here for a moment without.
    check_owner(manifest.owner, Command.LABEL, signed)
    command = Command.parse(signed.document)
    named = (command.deployment, command.model, command.name)
    if named != (deployment.id.hex(), record.model, record.name) or command.action == "delete":
        raise ConflictError("the primary's last command is for another model", status=409)
    serving = command.action == "serve"
    return replace(
        record,
        serving=serving,
        num_requests=command.num_requests if serving else record.num_requests,
        command=signed.encode(),
        command_ms=command.issued_ms,
    )

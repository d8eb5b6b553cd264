"""Which model a push may take the place of: one name, one model, the same one at every party."""

from __future__ import annotations

from collections.abc import Collection

from libmpc.errors import AuthenticationError, ConflictError, LibmpcError
from libmpc.party.proofs import owner_of, stored_manifest
from libmpc.party.records import Record
from libmpc.wire.manifest import Manifest

MAX_STORED = 1000
"""Models that one party keeps: a list of more would not fit into one message."""


def check_room(manifest: Manifest, stored: int) -> None:
    """Whether there is room for a push beside so many models.

    Raises:
        ConflictError: there is none, and it replaces no other.
    """
    if manifest.replace is None and stored >= MAX_STORED:
        raise ConflictError(
            f"{MAX_STORED} models are stored, and that is all that a party keeps; delete one",
            status=409,
        )


def check_place(manifest: Manifest, held: Record | None) -> None:
    """Whether a push may have its name.

    Args:
        held: the model that has the name.

    Raises:
        ConflictError: the name is in use, or the model to replace is another one.
        AuthenticationError: the model belongs to another owner.
    """
    if held is None:
        if manifest.replace is not None:
            raise ConflictError("the model to replace has changed; push again", status=409)
        return
    if manifest.replace is None:
        raise ConflictError(
            f"the name {manifest.name!r} is in use; choose another or replace it", status=409
        )
    if owner_of(held) not in (manifest.owner, None):
        raise AuthenticationError("the model belongs to another owner", status=403)
    if manifest.replace != held.model:
        raise ConflictError("the model to replace has changed; push again", status=409)


def place_of(
    model: str,
    manifest: Manifest,
    held: Record | None,
    gone: Collection[str],
    *,
    from_peer: bool,
) -> str | None:
    """The model (digest) that a push takes the place of when it is committed.

    Parties that miss each other commit, and delete, in different orders. Two rules make them hold
    the same in the end:

    * The model to replace may have been deleted: then the push takes an empty place.
    * Two pushes of one owner for one place may each have reached another party. Once those meet,
      the one that was signed later stays.

    Args:
        model: the push (digest).
        held: the model that has the name.
        gone: what was deleted or replaced here (digests).
        from_peer: a peer shows that it has committed the push.

    Raises:
        ConflictError, AuthenticationError: as ``check_place``.
    """
    if held is None and manifest.replace in gone:
        return None
    # SECURITY: not on a gateway's word, which could keep a push back and exchange the model later.
    if from_peer and held is not None and _later(model, manifest, held):
        return held.model
    check_place(manifest, held)
    return manifest.replace


def _later(model: str, manifest: Manifest, held: Record) -> bool:
    try:
        other = stored_manifest(held)
    except LibmpcError:
        return False
    # SECURITY: of the same owner only: nobody else's push takes a name that is in use.
    if (manifest.owner, manifest.replace) != (other.owner, other.replace):
        return False
    return (manifest.issued_ms, model) > (other.issued_ms, held.model)

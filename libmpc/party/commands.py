"""Owners' commands: whether one counts for a model, and what becomes of the model's record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from libmpc.errors import AuthenticationError, ConflictError
from libmpc.party.entry import Entry
from libmpc.party.proofs import check_owner
from libmpc.party.records import Record
from libmpc.wire.command import Command
from libmpc.wire.lifetime import check_lifetime
from libmpc.wire.signed import Signed


def is_new(entry: Entry, command: Command, signed: Signed, now: float | None) -> bool:
    """Whether a command is to be applied; false for the one that was applied last.

    Args:
        signed: the same command, as it came.
        now: the time; ``None`` for one that a peer has applied already, however long ago.

    Raises:
        AuthenticationError: the model's owner has not signed it.
        ConflictError: it is for another model, an old one, or has expired.
    """
    check_owner(entry.manifest.owner, "command", signed)
    if command.name != entry.record.name:
        raise ConflictError("the command names another model", status=409)
    if signed.encode() == entry.record.command:
        return False
    # SECURITY: a gateway that kept an old command must not be able to give it again.
    if command.issued_ms <= entry.record.command_ms:
        raise ConflictError(
            "a newer command was given for this model; check this machine's clock", status=409
        )
    if now is not None:
        check_lifetime("command", command.issued_ms, command.expires_ms, now)
    return True


def check_any_owner(owners: Sequence[str], signed: Signed) -> None:
    """Check that one of these owners (keys, hex) has signed a command.

    Raises:
        AuthenticationError: none has.
    """
    for owner in owners:
        try:
            check_owner(owner, Command.LABEL, signed)
        except AuthenticationError:
            continue
        return
    raise AuthenticationError("the owner's signature is not valid", status=403)


def obeyed(record: Record, command: Command, signed: Signed) -> Record:
    """A model's record after a serve or stop; serving begins a new count."""
    serving = command.action == "serve"
    return replace(
        record,
        serving=serving,
        num_requests=command.num_requests if serving else record.num_requests,
        served=0 if serving else record.served,
        command=signed.encode(),
        command_ms=command.issued_ms,
    )

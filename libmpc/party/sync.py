"""How parties bring each other's catalogs up to date when a link comes up.

A gateway may die, or a party be down, between the three commits of a push or the three copies of
a command. Whatever one party has put in force, the others take over from it on its proof: the
three receipts of a push, the owner's signature of a command. On a peer's word alone a party only
counts more requests than it has counted itself: so a restored backup gives none away again.
"""

from __future__ import annotations

import logging
from typing import Annotated

from pydantic import FailFast, Field

from libmpc.errors import LibmpcError, UnavailableError
from libmpc.party.catalog import Catalog
from libmpc.party.messages import MAX_MODELS, Commit, Control
from libmpc.wire.fields import Hex32
from libmpc.wire.signed import Signed

log = logging.getLogger(__name__)

COUNTS_MINOR = 1
#: deletions that are told of, the newest; one message has room for these and for all models
MAX_TOLD = 1000

Served = Annotated[int, Field(ge=0, le=1 << 62)]


class ModelReport(Control):
    """What one party has in force for one model, with the proofs."""

    model: Hex32
    served: Served = 0  # from wire version 1.1 on
    certificate: Annotated[tuple[Signed, ...], Field(max_length=3), FailFast()]
    command: Signed | None


class CatalogReport(Control):
    """Everything that one party has in force, and what it has last deleted."""

    models: Annotated[tuple[ModelReport, ...], Field(max_length=MAX_MODELS), FailFast()]
    deleted: Annotated[tuple[Signed, ...], Field(max_length=MAX_MODELS), FailFast()]


def report(catalog: Catalog, minor: int) -> bytes:
    """This party's report, to a peer on a link of that minor wire version."""
    deleted = [command for command in catalog.tombstones.values() if command][-MAX_TOLD:]
    full = CatalogReport(
        models=tuple(
            ModelReport(
                model=model,
                served=record.served if record.num_requests is not None else 0,
                certificate=Commit.parse(record.certificate or b"").receipts,
                command=Signed.parse(record.command) if record.command else None,
            )
            for model, record in catalog.stored().items()
        ),
        deleted=tuple(Signed.parse(command) for command in deleted),
    )
    # An older peer refuses fields that it does not know.
    left_out = {"models": {"__all__": {"served"}}} if minor < COUNTS_MINOR else None
    return full.model_dump_json(exclude=left_out).encode()


def absorb(catalog: Catalog, heard: CatalogReport, counts: bool = True) -> bool:
    """Take over what a peer has in force and we have not; true if anything changed.

    Args:
        counts: whether higher counts count, too.

    Raises:
        UnavailableError: the disk refuses; to be tried again.
    """
    before = catalog.entries
    for command in heard.deleted:
        _try(catalog, command)
    for item in heard.models:
        if item.model in catalog.prepared:
            try:
                catalog.commit(item.model, item.certificate, from_peer=True)
            except UnavailableError:
                raise
            except LibmpcError as error:
                log.warning("model %s: a peer's receipts do not hold: %s", item.model[:12], error)
        entry = catalog.entries.get(item.model)
        if entry is not None and item.command is not None:
            _try(catalog, item.command)
        if counts:
            last = item.command.encode() if item.command is not None else None
            catalog.counted_by_peer(item.model, last, item.served)
    return catalog.entries is not before


def _try(catalog: Catalog, command: Signed) -> None:
    try:
        catalog.command(command, from_peer=True)
    except UnavailableError:
        raise
    except LibmpcError as error:
        # Most often: we know of a newer one, or never had the model.
        log.debug("a peer's command was not taken over: %s", error)

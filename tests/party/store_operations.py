"""Everything that changes what a party stores, each as one operation from a state before it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from libmpc.identity.storage_keys import StorageKey, StorageKeys
from libmpc.party.catalog import Catalog
from libmpc.party.handover import Handed, ModelInForce, header_of
from libmpc.party.store import Store
from tests.party.storage import KEYS, Fault, Organisation, Push

NEW_KEYS = StorageKeys([StorageKey(b"n" * 32), *KEYS])


@dataclass(frozen=True)
class Operation:
    """One change.

    Attributes:
        before: brings an empty party into the state that the change begins with.
        change: the change itself.
        at_start: it happens while the party's data are opened, and not afterwards.
    """

    before: Callable[[Organisation], None]
    change: Callable[[Organisation, Store, Catalog], None] = lambda *_: None
    at_start: bool = False
    keys: StorageKeys = KEYS

    def run(self, party: Organisation, fault: Fault, step: int | None) -> None:
        """Carry it out with a fault at one of its own steps."""
        if self.at_start:
            fault.step = step
        party = replace(party, keys=self.keys)
        store, catalog = party.open(fault)
        try:
            if not self.at_start:
                fault.taken, fault.step = 0, step
                fault.names.clear()
            self.change(party, store, catalog)
        finally:
            store.close()


def first(party: Organisation) -> Push:
    return party.push("mnist", 1, num_requests=10)


def second(party: Organisation) -> Push:
    return party.push("mnist", 3, replace=first(party).model)


def nothing(party: Organisation) -> None:
    party.data.mkdir(parents=True)


def prepared(party: Organisation) -> None:
    _open(party, lambda catalog: catalog.prepare(first(party).manifest, first(party).share))


def stored(party: Organisation) -> None:
    prepared(party)
    _open(party, lambda catalog: catalog.commit(first(party).model, first(party).receipts))


def replacing(party: Organisation) -> None:
    stored(party)
    _open(party, lambda catalog: catalog.prepare(second(party).manifest, second(party).share))


def expired(party: Organisation) -> None:
    """A push that was prepared and that nobody committed in time."""
    clock = party.clock
    party.clock = type(clock)(clock.now() - 3600)  # type: ignore[call-arg]
    prepared(party)
    party.clock = clock


def format_1(party: Organisation) -> None:
    """As a party of before shares were encrypted has left it."""
    replacing(party)
    store, _ = party.open()
    plain = {record.model: bytes(store.share(record)) for record in store.records()}
    store.close()
    with sqlite3.connect(party.data / "party.sqlite") as db:
        db.execute("DROP TABLE seal")
        db.execute("PRAGMA user_version = 1")
    db.close()
    (party.data / "newest").unlink()
    for file in (party.data / "shares").iterdir():
        file.unlink()
    for model, share in plain.items():
        (party.data / "shares" / f"{model}.share").write_bytes(share)


def _open(party: Organisation, change: Callable[[Catalog], object]) -> None:
    store, catalog = party.open()
    change(catalog)
    store.close()


def _command(action: str, limit: int | None = None) -> Callable[..., None]:
    def change(party: Organisation, store: Store, catalog: Catalog) -> None:
        catalog.command(party.command(first(party), action, 1, limit))

    return change


def _count(party: Organisation, store: Store, catalog: Catalog) -> None:
    counts = {(first(party).model, 0): 3}
    store.add_served(counts)
    catalog.counted(counts)


def hand_over(party: Organisation, *pushes: Push) -> tuple[ModelInForce, Handed]:
    """What another process of this party would hand over of the last of these, all in force."""
    primary = replace(party, directory=party.directory.parent / "primary")
    shutil.rmtree(primary.directory, ignore_errors=True)
    store, catalog = primary.open()
    for push in pushes:
        catalog.prepare(push.manifest, push.share)
        catalog.commit(push.model, push.receipts)
    record = catalog.entries[pushes[-1].model].record
    key_record, blocks = store.sealed(record.model)
    header = header_of(store, record, key_record)
    handed = Handed(header, record.manifest, bytearray(b"".join(blocks)))
    store.close()
    return ModelInForce(model=record.model, command=None), handed


def _adopt(party: Organisation, store: Store, catalog: Catalog) -> None:
    catalog.adopt(*catalog.check_handed(*hand_over(party, first(party))))


def _adopt_instead(party: Organisation, store: Store, catalog: Catalog) -> None:
    catalog.adopt(*catalog.check_handed(*hand_over(party, first(party), second(party))))


OPERATIONS: dict[str, Operation] = {
    "start": Operation(nothing, at_start=True),
    "push": Operation(
        nothing, lambda p, _, catalog: catalog.prepare(first(p).manifest, first(p).share)
    ),
    "commit": Operation(
        prepared, lambda p, _, catalog: catalog.commit(first(p).model, first(p).receipts)
    ),
    "replace": Operation(
        replacing, lambda p, _, catalog: catalog.commit(second(p).model, second(p).receipts)
    ),
    "serve": Operation(stored, _command("serve", 5)),
    "stop": Operation(stored, _command("stop")),
    "count": Operation(stored, _count),
    "delete": Operation(stored, _command("delete")),
    "adopt": Operation(nothing, _adopt),
    "adopt instead": Operation(stored, _adopt_instead),
    "bury": Operation(stored, lambda p, _, catalog: catalog.bury(first(p).model)),
    "expire": Operation(expired, lambda p, _, catalog: catalog.discard_expired()),
    "migrate": Operation(format_1, at_start=True),
    "rotate": Operation(stored, at_start=True, keys=NEW_KEYS),
}

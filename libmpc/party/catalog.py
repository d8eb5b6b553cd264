"""The models of one party: pushed in two steps, then served, stopped and deleted by their owner.

Nothing here is done on a gateway's word. A push is *prepared* when the owner's signed manifest and
this party's share have been checked and are durable; the party signs a receipt. It is *committed*
on the receipts of all three: then each party has what it needs, so one that was down at that
moment commits later, from its peers (see ``sync``). Serve, stop and delete carry the owner's
signature; the newest wins.

Methods block on the disk: call them from a thread. One at a time (the node holds a lock); readers
on other threads see whole dictionaries, since each change replaces them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.errors import ConflictError, LibmpcError, ModelNotFoundError
from libmpc.identity.signing import SigningKey
from libmpc.party.commands import check_any_owner, is_new, obeyed
from libmpc.party.entry import Entry, load_entry
from libmpc.party.handover import Handed, ModelInForce, check_record, check_share
from libmpc.party.messages import Commit
from libmpc.party.places import check_place, check_room, place_of
from libmpc.party.proofs import check_receipts, owner_of, pushed_manifest
from libmpc.party.store import Period, Record, Store
from libmpc.party.variants import Variants
from libmpc.wire.command import Command
from libmpc.wire.manifest import model_digest
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed

log = logging.getLogger(__name__)


class Catalog:
    """What this party stores, by model digest (hex) and by name.

    Raises, from the methods below:
        AuthenticationError: a signature or an owner that this deployment does not accept.
        ConflictError: a name in use, an old command, a push that has expired.
        IntegrityError: a share or receipt that does not match its manifest.
        ModelNotFoundError: no such model here.
    """

    def __init__(
        self, index: int, deployment: Deployment, store: Store, signing: SigningKey, clock: Clock
    ) -> None:
        self.index = index
        self._deployment = deployment
        self._store = store
        self._signing = signing
        self._clock = clock
        self.entries: dict[str, Entry] = {}
        self.variants = Variants()
        self.prepared: dict[str, Record] = {}
        self.damaged: dict[str, Record] = {}  # stored, and not to be computed with
        self._latest: Entry | None = None  # of the last push, so that its commit need not load it
        self.tombstones = store.tombstones()
        for record in store.records():
            if record.state == "prepared":
                self.prepared[record.model] = record
                continue
            try:
                self._put(self._load(record, store.share(record)))
            except LibmpcError as error:
                log.error("model %r is not available: %s", record.name, error)
                self.damaged[record.model] = record

    def renew(self, deployment: Deployment, signing: SigningKey) -> None:
        """Go by another file of the same deployment, and sign with another key of this party."""
        self._deployment = deployment
        if signing.public != self._signing.public:
            self._signing = signing
            self._latest = None  # what it has is signed with the old one
            self.entries = {m: entry.signed_with(signing) for m, entry in self.entries.items()}

    def find(self, variant: str) -> Entry | None:
        """The entry of a model, or of a variant of it (see ``variants``)."""
        return self.variants.find(self.entries, variant)

    def by_name(self, name: str) -> Entry | None:
        return next((e for e in self.entries.values() if e.record.name == name), None)

    def stored(self) -> dict[str, Record]:
        """Every model in force, by digest, whether it can be computed with or not."""
        return {m: e.record for m, e in self.entries.items()} | self.damaged

    # ---- push

    def check(self, signed: Signed, payload: bytes | memoryview) -> Entry:
        """Whether a push can be used. Takes seconds for a large model, and changes nothing: it
        needs no turn.
        """
        manifest = pushed_manifest(self._deployment, signed, self._clock.now())
        model = model_digest(signed.document).hex()
        if model in self.tombstones:
            raise ConflictError("this push was replaced or deleted", status=409)
        if (stored := self.entries.get(model)) is not None:
            return stored
        if model in self.damaged:
            raise ConflictError("its share is damaged here; delete it and push again", status=409)
        check_place(manifest, self._named(manifest.name))
        check_room(manifest, len(self.stored()) + len(self.prepared))
        record = Record(
            model=model,
            name=manifest.name,
            state="prepared",
            manifest=signed.document,
            signature=signed.signature,
            expires_ms=manifest.expires_ms,
        )
        return self._load(record, payload)

    def prepare(
        self, signed: Signed, payload: bytes | memoryview, checked: Entry | None = None
    ) -> Signed:
        """Step one of a push: check and keep; the answer is this party's receipt.

        Args:
            checked: what ``check`` has returned for the same push.
        """
        entry = checked or self.check(signed, payload)
        model = entry.record.model
        if model in self.tombstones:
            raise ConflictError("this push was replaced or deleted", status=409)
        if model not in self.entries and model not in self.prepared:
            check_place(entry.manifest, self._named(entry.manifest.name))
            check_room(entry.manifest, len(self.stored()) + len(self.prepared))
            self._store.prepare(entry.record, payload)
            self.prepared = {**self.prepared, model: entry.record}
            self._latest = entry
        return self._signing.sign_document(
            Receipt(deployment=self._deployment.id.hex(), party=self.index, model=model)
        )

    def commit(self, model: str, receipts: Sequence[Signed], *, from_peer: bool = False) -> None:
        """Step two: in force, durably. Doing it again changes nothing."""
        if model in self.entries or model in self.damaged:
            return
        record = self.prepared.get(model)
        if record is None:
            raise ModelNotFoundError("this push was not prepared here", status=404)
        check_receipts(self._deployment, model, receipts)
        # A peer that shows the receipts has committed already, however long ago.
        if not from_peer and self._now_ms() > record.expires_ms:
            raise ConflictError("the push has expired; push again", status=409)
        entry, self._latest = self._latest, None
        if entry is None or entry.record.model != model:
            entry = self._load(record, self._store.share(record))
        manifest = entry.manifest
        held = self._named(manifest.name)
        replaces = place_of(model, manifest, held, self.tombstones, from_peer=from_peer)
        certificate = Commit(model=model, receipts=tuple(receipts)).encode()
        self._store.commit(
            model,
            certificate,
            serving=manifest.serve,
            num_requests=manifest.num_requests,
            replaces=replaces,
        )
        if replaces is not None:
            self._bury(replaces)
        self.prepared = {m: r for m, r in self.prepared.items() if m != model}
        stored = replace(
            record,
            state="stored",
            certificate=certificate,
            serving=manifest.serve,
            num_requests=manifest.num_requests,
        )
        self._put(replace(entry, record=stored))

    # ---- what another process of this party has in force (see ``replica``)

    def check_handed(self, wanted: ModelInForce, handed: Handed) -> tuple[Entry, bytearray]:
        """Whether what came from there can be used. Takes seconds and changes nothing."""
        header, store = handed.header, self._store
        record = check_record(self._deployment, store, wanted, header, handed.manifest)
        file = bytes(handed.file)
        return check_share(self.index, self._signing, store, record, header.key_record, file)

    def adopt(self, entry: Entry, payload: bytes | bytearray | memoryview) -> None:
        """Keep a model as it is there, in place of whatever has its name here."""
        model, name = entry.record.model, entry.record.name
        named = [m for m, r in self.stored().items() if r.name == name and m != model]
        self._store.adopt(entry.record, payload, named)
        for old in named:
            self._bury(old)
        self._drop(model)  # where it was damaged
        self._put(entry)

    def bury(self, model: str) -> None:
        """Drop a model that was replaced there."""
        self._store.bury(model)
        self._bury(model)

    def _bury(self, model: str) -> None:
        self.tombstones = {**self.tombstones, model: b""}
        self._drop(model)

    def discard_expired(self, margin_ms: int = 60_000) -> None:
        """Forget pushes that no party can commit any more."""
        for model, record in list(self.prepared.items()):
            if self._now_ms() > record.expires_ms + margin_ms:
                self._store.discard(model)
                if self._latest is not None and self._latest.record.model == model:
                    self._latest = None
                self.prepared = {m: r for m, r in self.prepared.items() if m != model}

    # ---- commands

    def command(self, signed: Signed, *, from_peer: bool = False) -> None:
        """Apply an owner's serve, stop or delete. Doing it again changes nothing."""
        command = Command.parse(signed.document)
        if command.deployment != self._deployment.id.hex():
            raise ConflictError("the command is for another deployment", status=409)
        entry = self.entries.get(command.model)
        if entry is None:
            if command.action == "delete":
                self._forget(command.model, signed)
                return
            raise ModelNotFoundError(f"no model {command.name!r} is stored", status=404)
        if not is_new(entry, command, signed, None if from_peer else self._clock.now()):
            return
        if command.action == "delete":
            self._delete(command.model, signed.encode())
            return
        record = obeyed(entry.record, command, signed)
        self._store.set_serving(
            command.model, record.serving, record.num_requests, signed.encode(), record.command_ms
        )
        self._put(replace(entry, record=record))

    def _forget(self, model: str, signed: Signed) -> None:
        """Delete a model that only other parties have, such as after a restored backup, one that
        was not committed here, or one whose share is damaged.
        """
        if model in self.tombstones:
            self._store.erase(model)  # where the disk has refused the first time
            return
        owners = self._deployment.owners
        if (record := self.damaged.get(model) or self.prepared.get(model)) is not None:
            owners = (owner,) if (owner := owner_of(record)) else owners
        check_any_owner(owners, signed)
        self._delete(model, signed.encode())

    def _delete(self, model: str, command: bytes) -> None:
        self._store.delete(model, command)
        self.tombstones = {**self.tombstones, model: command}
        self._drop(model)
        self._store.erase(model)

    def counted(self, served: Mapping[Period, int]) -> None:
        """Note requests that the store has counted durably. Does not block."""
        for period, number in served.items():
            entry = self.entries.get(period[0])
            if entry is not None and entry.record.period == period:
                record = replace(entry.record, served=entry.record.served + number)
                self._put(replace(entry, record=record))

    def counted_by_peer(self, model: str, command: bytes | None, served: int) -> None:
        """A peer says how many requests it has counted since a command: believe it if more.

        Its own count may be an old one, from a backup.
        """
        entry = self.entries.get(model)
        if entry is None or entry.record.num_requests is None or entry.record.command != command:
            return
        # SECURITY: upwards only. A peer that lies can use up a limit, as it can stop a model.
        more = min(served, entry.record.num_requests) - entry.record.served
        if more > 0:
            self._store.add_served({entry.record.period: more})
            self.counted({entry.record.period: more})
            log.warning(
                "model %r: a peer has counted %d requests more; taken over", entry.record.name, more
            )

    def _named(self, name: str) -> Record | None:
        return next((r for r in self.stored().values() if r.name == name), None)

    # ---- entries

    def _load(self, record: Record, payload: bytes | memoryview) -> Entry:
        return load_entry(self.index, self._signing, record, payload)

    def _put(self, entry: Entry) -> None:
        self.entries = {**self.entries, entry.record.model: entry}

    def _drop(self, model: str) -> None:
        self.entries = {m: e for m, e in self.entries.items() if m != model}
        self.damaged = {m: r for m, r in self.damaged.items() if m != model}
        self.prepared = {m: r for m, r in self.prepared.items() if m != model}

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

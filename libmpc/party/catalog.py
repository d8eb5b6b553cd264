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

from collections.abc import Mapping, Sequence
from dataclasses import replace

from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.errors import (
    AuthenticationError,
    ConflictError,
    IntegrityError,
    ModelNotFoundError,
)
from libmpc.identity.signing import SigningKey, verify
from libmpc.party.entry import Entry, load_entry
from libmpc.party.messages import Commit
from libmpc.party.store import Period, Record, Store
from libmpc.party.variants import Variants
from libmpc.wire.command import Command
from libmpc.wire.lifetime import check_lifetime
from libmpc.wire.manifest import Manifest, model_digest
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed


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
        self._latest: Entry | None = None  # of the last push, so that its commit need not load it
        self.tombstones = store.tombstones()
        for record in store.records():
            if record.state == "stored":
                self._put(self._load(record, store.share(record.model)))
            else:
                self.prepared[record.model] = record

    def find(self, variant: str) -> Entry | None:
        """The entry of a model, or of a variant of it (see ``variants``)."""
        return self.variants.find(self.entries, variant)

    def by_name(self, name: str) -> Entry | None:
        return next((e for e in self.entries.values() if e.record.name == name), None)

    # ---- push

    def check(self, signed: Signed, payload: bytes | memoryview) -> Entry:
        """Whether a push can be used. Takes seconds for a large model, and changes nothing: it
        needs no turn.
        """
        manifest = self._checked_manifest(signed)
        model = model_digest(signed.document).hex()
        if model in self.tombstones:
            raise ConflictError("this push was replaced or deleted", status=409)
        if (stored := self.entries.get(model)) is not None:
            return stored
        self._check_name(manifest)
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
            self._check_name(entry.manifest)
            self._store.prepare(entry.record, payload)
            self.prepared = {**self.prepared, model: entry.record}
            self._latest = entry
        return self._signing.sign_document(
            Receipt(deployment=self._deployment.id.hex(), party=self.index, model=model)
        )

    def commit(self, model: str, receipts: Sequence[Signed], *, from_peer: bool = False) -> None:
        """Step two: in force, durably. Doing it again changes nothing."""
        if model in self.entries:
            return
        record = self.prepared.get(model)
        if record is None:
            raise ModelNotFoundError("this push was not prepared here", status=404)
        self._check_receipts(model, receipts)
        # A peer that shows the receipts has committed already, however long ago.
        if not from_peer and self._now_ms() > record.expires_ms:
            raise ConflictError("the push has expired; push again", status=409)
        entry, self._latest = self._latest, None
        if entry is None or entry.record.model != model:
            entry = self._load(record, self._store.share(model))
        self._check_name(entry.manifest)
        certificate = Commit(model=model, receipts=tuple(receipts)).encode()
        manifest = entry.manifest
        self._store.commit(
            model,
            certificate,
            serving=manifest.serve,
            num_requests=manifest.num_requests,
            replaces=manifest.replace,
        )
        if manifest.replace is not None:
            self.tombstones = {**self.tombstones, manifest.replace: b""}
            self._drop(manifest.replace)
        self.prepared = {m: r for m, r in self.prepared.items() if m != model}
        stored = replace(
            record,
            state="stored",
            certificate=certificate,
            serving=manifest.serve,
            num_requests=manifest.num_requests,
        )
        self._put(replace(entry, record=stored))

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
        record = entry.record
        self._verify(entry.manifest.owner, "command", signed)
        if command.name != record.name:
            raise ConflictError("the command names another model", status=409)
        encoded = signed.encode()
        if encoded == record.command:
            return
        # SECURITY: a gateway that kept an old command must not be able to give it again.
        if command.issued_ms <= record.command_ms:
            raise ConflictError(
                "a newer command was given for this model; check this machine's clock", status=409
            )
        if not from_peer:
            now = self._clock.now()
            check_lifetime("command", command.issued_ms, command.expires_ms, now)
        if command.action == "delete":
            self._store.delete(command.model, encoded)
            self.tombstones = {**self.tombstones, command.model: encoded}
            self._drop(command.model)
            return
        serving = command.action == "serve"
        limit = command.num_requests if serving else record.num_requests
        self._store.set_serving(command.model, serving, limit, encoded, command.issued_ms)
        changed = replace(
            record,
            serving=serving,
            num_requests=limit,
            served=0 if serving else record.served,
            command=encoded,
            command_ms=command.issued_ms,
        )
        self._put(replace(entry, record=changed))

    def _forget(self, model: str, signed: Signed) -> None:
        """Delete a model that only other parties have, such as after a restored backup."""
        if model in self.tombstones:
            return
        for owner in self._deployment.owners:
            try:
                verify(bytes.fromhex(owner), Command.LABEL, signed)
            except IntegrityError:
                continue
            self._store.delete(model, signed.encode())
            self.tombstones = {**self.tombstones, model: signed.encode()}
            self.prepared = {m: r for m, r in self.prepared.items() if m != model}
            return
        raise AuthenticationError("the owner's signature is not valid", status=403)

    def counted(self, served: Mapping[Period, int]) -> None:
        """Note requests that the store has counted durably. Does not block."""
        for period, number in served.items():
            entry = self.entries.get(period[0])
            if entry is not None and entry.record.period == period:
                record = replace(entry.record, served=entry.record.served + number)
                self._put(replace(entry, record=record))

    # ---- checks

    def _checked_manifest(self, signed: Signed) -> Manifest:
        manifest = Manifest.parse(signed.document)
        if manifest.deployment != self._deployment.id.hex():
            raise ConflictError("the manifest is for another deployment", status=409)
        if self._deployment.owners and manifest.owner not in self._deployment.owners:
            raise AuthenticationError("this deployment does not know the owner's key", status=403)
        self._verify(manifest.owner, "manifest", signed)
        check_lifetime("push", manifest.issued_ms, manifest.expires_ms, self._clock.now())
        return manifest

    def _check_name(self, manifest: Manifest) -> None:
        stored = self.by_name(manifest.name)
        if stored is None:
            if manifest.replace is not None:
                raise ConflictError("the model to replace has changed; push again", status=409)
            return
        if manifest.replace is None:
            raise ConflictError(
                f"the name {manifest.name!r} is in use; choose another or replace it", status=409
            )
        if stored.manifest.owner != manifest.owner:
            raise AuthenticationError("the model belongs to another owner", status=403)
        if manifest.replace != stored.record.model:
            raise ConflictError("the model to replace has changed; push again", status=409)

    def _check_receipts(self, model: str, receipts: Sequence[Signed]) -> None:
        # SECURITY: all three, each by its own party: a model is in force only where every party
        # has its share, whatever a gateway says.
        if len(receipts) != 3:
            raise IntegrityError("a commit needs three receipts", status=400)
        for party, signed in zip(self._deployment.parties, receipts, strict=True):
            receipt = Receipt.parse(verify(party.signing_key, Receipt.LABEL, signed))
            if (receipt.party, receipt.model) != (party.index, model):
                raise IntegrityError("a receipt is for another push", status=400)

    def _verify(self, key: str, label: str, signed: Signed) -> None:
        try:
            verify(bytes.fromhex(key), label, signed)
        except IntegrityError:
            raise AuthenticationError("the owner's signature is not valid", status=403) from None

    # ---- entries

    def _load(self, record: Record, payload: bytes | memoryview) -> Entry:
        return load_entry(self.index, self._signing, record, payload)

    def _put(self, entry: Entry) -> None:
        self.entries = {**self.entries, entry.record.model: entry}

    def _drop(self, model: str) -> None:
        self.entries = {m: e for m, e in self.entries.items() if m != model}

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

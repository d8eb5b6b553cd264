"""Disks that fail on purpose, and a party's models without its network."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from libmpc.clock import Clock
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.disk import Buffer, FileDisk
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.signing import SigningKey
from libmpc.identity.storage_keys import StorageKey, StorageKeys
from libmpc.party.catalog import Catalog
from libmpc.party.store import Store
from libmpc.party.vault import Vault
from libmpc.protocol import share_weights
from libmpc.wire.command import Command
from libmpc.wire.context import sha256
from libmpc.wire.manifest import Manifest, model_digest
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed
from tests.manual_clock import ManualClock
from tests.party.test_queries import PLAN, WEIGHTS

KEYS = StorageKeys([StorageKey(bytes(range(32)))])


class Crash(BaseException):
    """The process ends here: nothing may catch this and go on."""


@dataclass
class Fault:
    """What happens at one durable step of many.

    Attributes:
        step: which one, from 0; ``None`` for none.
        when: "before", "after", "half" (a write that is cut off) or "full" (no room).
        kill: end the process for real.
        image: a directory, and where to copy it to at that moment.
    """

    step: int | None = None
    when: str = "before"
    kill: bool = False
    image: tuple[Path, Path] | None = None
    taken: int = 0
    names: list[str] = field(default_factory=list)

    def strike(self) -> None:
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.image is not None:
            # What a killed process leaves is what the kernel has at this moment.
            shutil.copytree(*self.image)
        raise Crash


class FaultyDisk(FileDisk):
    """The machine's disk, until its fault strikes."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def _begin(self, name: str) -> bool:
        """Count a step; whether it is the one."""
        fault = self.fault
        here = fault.taken == fault.step
        fault.taken += 1
        fault.names.append(name)
        if here and fault.when == "before":
            fault.strike()
        return here

    def _end(self, here: bool) -> None:
        if here and self.fault.when == "after":
            self.fault.strike()

    def _refuse(self, here: bool) -> None:
        if here and self.fault.when == "full":
            raise OSError(errno.ENOSPC, "No space left on device")

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        here = self._begin("make_directory")
        self._refuse(here)
        super().make_directory(path)
        self._end(here)

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        here = self._begin("write")
        if here and self.fault.when in ("half", "full"):
            data = b"".join(parts)
            super().write(path, [data[: len(data) // 2]])
            self._refuse(here)
            self.fault.strike()
        super().write(path, parts)
        self._end(here)

    def overwrite(self, path: Path) -> None:
        here = self._begin("overwrite")
        if here and self.fault.when == "half":
            size = path.stat().st_size // 2
            path.write_bytes(bytes(size) + path.read_bytes()[size:])
            self.fault.strike()
        super().overwrite(path)
        self._end(here)

    def rename(self, path: Path, target: Path) -> None:
        here = self._begin("rename")
        self._refuse(here)
        super().rename(path, target)
        self._end(here)

    def remove(self, path: Path) -> None:
        here = self._begin("remove")
        super().remove(path)
        self._end(here)

    def commit(self, db: sqlite3.Connection) -> None:
        here = self._begin("commit")
        if here and self.fault.when == "full":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super().commit(db)
        self._end(here)


@dataclass
class Organisation:
    """One party's models in a directory, and all that their owner and its peers would say."""

    directory: Path
    deployment: Deployment
    owner: SigningKey
    signing: list[SigningKey]  # all three parties'
    index: int = 0
    keys: StorageKeys = KEYS
    clock: Clock = field(default_factory=lambda: ManualClock(1_800_000_000.0))

    @classmethod
    def load(cls, made: Path, directory: Path, index: int = 0) -> Organisation:
        """A party of a deployment that ``make_all`` has made, with its data somewhere else."""
        deployment = Deployment.from_file(made / "deployment.yaml")
        owner = Credential.from_file(made / "credentials.yaml", deployment).signing_key
        assert owner is not None
        signing = [PartyIdentity.load(made / f"party{i}" / "keys").signing for i in range(3)]
        return cls(directory, deployment, owner, signing, index)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def open(self, fault: Fault | None = None) -> tuple[Store, Catalog]:
        disk = FaultyDisk(fault or Fault())
        store = Store(self.data, Vault(self.index, self.keys), disk)
        catalog = Catalog(self.index, self.deployment, store, self.signing[self.index], self.clock)
        return store, catalog

    def copy(self, name: str) -> Organisation:
        """The same on a copy of the files as they are at this moment."""
        other = replace(self, directory=self.directory.parent / name)
        if other.directory.exists():
            shutil.rmtree(other.directory)
        if self.data.exists():
            shutil.copytree(self.data, other.data)
        return other

    def push(self, name: str, seed: int, **fields: object) -> Push:
        shares = share_weights(PLAN, WEIGHTS, bytes([seed]) * 32, bytes([seed + 1]) * 32)
        now = int(self.clock.now() * 1000)
        manifest = Manifest.model_validate(
            {
                "deployment": self.deployment.id.hex(),
                "name": name,
                "plan": PLAN.to_json().decode(),
                "share_hashes": tuple(sha256(shares[party]).hex() for party in range(3)),
                "owner": self.owner.public.hex(),
                "input_range": (-8.0, 8.0),
                "range_status": "proven",
                "serve": True,
                "issued_ms": now,
                "expires_ms": now + 60_000,
                **fields,
            }
        )
        signed = self.owner.sign_document(manifest)
        model = model_digest(signed.document).hex()
        receipts = [
            key.sign_document(
                Receipt(deployment=self.deployment.id.hex(), party=party, model=model)
            )
            for party, key in enumerate(self.signing)
        ]
        return Push(model, signed, bytes(shares[self.index]), receipts)

    def command(self, push: Push, action: str, later: int, limit: int | None = None) -> Signed:
        now = int(self.clock.now() * 1000) + later
        return self.owner.sign_document(
            Command.model_validate(
                {
                    "deployment": self.deployment.id.hex(),
                    "name": Manifest.parse(push.manifest.document).name,
                    "model": push.model,
                    "action": action,
                    "num_requests": limit,
                    "command_id": later.to_bytes(16).hex(),
                    "issued_ms": now,
                    "expires_ms": now + 60_000,
                }
            )
        )

    def state(self) -> object:
        """Everything that is stored, read anew, and that nothing else is."""
        store, catalog = self.open()
        try:
            shares = {r.model: bytes(store.share(r)) for r in store.records()}
            files = sorted(p.name for p in (self.data / "shares").iterdir())
            assert files == sorted(f"{m}{kind}" for m in shares for kind in (".key", ".sealed"))
            assert not catalog.damaged
            return store.records(), store.tombstones(), shares
        finally:
            store.close()


@dataclass(frozen=True)
class Push:
    model: str
    manifest: Signed
    share: bytes
    receipts: list[Signed]

"""What a party keeps on disk: its weight shares, who may do what with them, and counts.

Records are in a database (see ``records``), shares in files beside it, encrypted, each written and
flushed before the record that names it (see ``share_files``). Link keys, masks and bundles are
never stored: they die with the process.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from libmpc.disk import Buffer, Disk, FileDisk, reason
from libmpc.errors import ConfigError, ConflictError, UnavailableError
from libmpc.party.records import SHARES, Period, Record, Records
from libmpc.party.share_files import ShareFiles
from libmpc.party.vault import Vault
from libmpc.wire.errors import WireError
from libmpc.wire.manifest import Manifest

__all__ = ["Period", "Record", "Store"]

log = logging.getLogger(__name__)

_IN_FORCE = "in force"
_ADOPT = (
    "INSERT OR REPLACE INTO models (model, name, state, serving, num_requests, served, manifest,"
    " signature, certificate, command, command_ms, expires_ms) VALUES (:model, :name, :state,"
    " :serving, :num_requests, :served, :manifest, :signature, :certificate, :command,"
    " :command_ms, :expires_ms)"
)


class Store:
    """A party's durable state in one directory. Safe to call from several threads.

    A method that has returned is durable; one that raises, or is cut off, has changed everything
    that it changes or nothing.

    Args:
        directory: made if missing, with mode 0700.
        vault: encrypts shares; data of before there were keys are encrypted now.
        disk: where every durable step is taken.

    Raises:
        ConfigError: the directory cannot be used, is damaged, holds another version's data, or
            needs a storage key that is not there.
        UnavailableError: from methods: the disk refuses; says why.
    """

    def __init__(self, directory: Path, vault: Vault, disk: Disk | None = None) -> None:
        self._disk = disk or FileDisk()
        self._index = vault.index
        self.refusals = 0  # by the disk, since the start
        self._vault = vault
        try:
            self._disk.make_directory(directory)
            self._disk.make_directory(directory / SHARES)
            self._files = ShareFiles(directory / SHARES, vault, self._disk)
            self._records = Records(directory, vault, self._disk)
            self._bring_up_to_date()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{directory}: cannot be used as a party's data: {reason(error)}"
            ) from None

    def _bring_up_to_date(self) -> None:
        records = self._records.all()
        if self._records.format == 1:
            for record in records:
                with contextlib.suppress(WireError):  # damaged: whoever loads it will hear of it
                    self._files.encrypt_plain(record.model, self._digest(record))
            self._records.upgrade()
            log.info("the shares of %d models are encrypted now", len(records))
        models = [record.model for record in records]
        self._files.rewrap(models)
        self._files.keep_only(models)

    def close(self) -> None:
        """Close the database."""
        self._records.close()

    def records(self) -> list[Record]:
        """Every model, stored or only prepared."""
        with self._refusals("read"):
            return self._records.all()

    def tombstones(self) -> dict[str, bytes]:
        """Deleted models, with the owner's signed command; empty for one that was replaced."""
        with self._refusals("read"):
            return self._records.tombstones()

    def share(self, record: Record) -> memoryview:
        """The share payload of a model, as the party has written it.

        Raises:
            DamagedError: it is not any more.
        """
        with self._refusals("read"):
            return memoryview(self._files.read(record.model, self._digest(record)))

    def prepare(self, record: Record, payload: bytes | memoryview) -> None:
        """Keep a pushed share durably, not yet in force."""
        digest = self._digest(record)
        with self._refusals("stored"):
            try:
                self._files.write(record.model, digest, payload)
                with self._records.transaction(record.model) as db:
                    db.execute(
                        "INSERT INTO models"
                        " (model, name, state, manifest, signature, expires_ms)"
                        " VALUES (?, ?, 'prepared', ?, ?, ?)",
                        (
                            record.model,
                            record.name,
                            record.manifest,
                            record.signature,
                            record.expires_ms,
                        ),
                    )
            except (OSError, sqlite3.Error):
                self._erase_quietly(record.model)
                raise

    def commit(
        self,
        model: str,
        certificate: bytes,
        *,
        serving: bool,
        num_requests: int | None,
        replaces: str | None,
    ) -> None:
        """Put a prepared model in force and drop the one it replaces, in one step.

        Raises:
            ConflictError: the name is in use by another model.
        """
        changed = (model,) if replaces is None else (model, replaces)
        try:
            with self._refusals("stored"), self._records.transaction(*changed) as db:
                if replaces is not None:
                    _bury(db, replaces)
                db.execute(
                    "UPDATE models SET state = 'stored', certificate = ?, serving = ?,"
                    " num_requests = ?, served = 0 WHERE model = ? AND state = 'prepared'",
                    (certificate, serving, num_requests, model),
                )
        except sqlite3.IntegrityError:
            raise ConflictError("the name is in use by another model", status=409) from None
        if replaces is not None:
            self._erase_quietly(replaces)

    def adopt(self, record: Record, payload: Buffer, replaces: Sequence[str]) -> None:
        """Keep a model that is in force at another process of this party, as it is there, and
        drop those that have its name here, in one step.
        """
        with self._refusals("stored"):
            try:
                self._files.write(record.model, self._digest(record), payload)
                with self._records.transaction(record.model, *replaces) as db:
                    for old in replaces:
                        _bury(db, old)
                    db.execute(_ADOPT, asdict(record))
            except (OSError, sqlite3.Error):
                self._erase_quietly(record.model)
                raise
        for old in replaces:
            self._erase_quietly(old)

    def bury(self, model: str) -> None:
        """Drop a model that was replaced, and remember that."""
        with self._refusals("stored"), self._records.transaction(model) as db:
            _bury(db, model)
        self._erase_quietly(model)

    def set_serving(
        self, model: str, serving: bool, num_requests: int | None, command: bytes, command_ms: int
    ) -> None:
        """Apply a signed serve or stop; serving begins a new count."""
        with self._refusals("stored"), self._records.transaction(model) as db:
            db.execute(
                "UPDATE models SET serving = ?, num_requests = ?, command = ?, command_ms = ?,"
                " served = CASE WHEN ? THEN 0 ELSE served END WHERE model = ?",
                (serving, num_requests, command, command_ms, serving, model),
            )

    def add_served(self, counts: Mapping[Period, int]) -> None:
        """Add to the counts of requests served, for several models at once.

        A count of a period that has ended since changes nothing.
        """
        models = {model for model, _ in counts}
        with self._refusals("stored"), self._records.transaction(*models) as db:
            db.executemany(
                "UPDATE models SET served = served + ? WHERE model = ? AND command_ms = ?",
                [(count, *period) for period, count in counts.items()],
            )

    def delete(self, model: str, command: bytes) -> None:
        """Remove a model's record for good and remember that, and on whose word.

        The share is gone after ``erase``, or at the next start.
        """
        with self._refusals("stored"), self._records.transaction(model) as db:
            db.execute("DELETE FROM models WHERE model = ?", (model,))
            db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?)", (model, command))

    def erase(self, model: str) -> None:
        """Destroy the share of a model that has no record, so that no copy of it can be read."""
        with self._refusals("erased"):
            self._files.erase(model)
        self._records.forget_log()

    def discard(self, model: str) -> None:
        """Forget a model that was prepared and never committed."""
        with self._refusals("stored"), self._records.transaction(model) as db:
            db.execute("DELETE FROM models WHERE model = ? AND state = 'prepared'", (model,))
        self._erase_quietly(model)

    # ---- between the processes of one party

    def sealed(self, model: str) -> tuple[bytes, Iterator[bytes]]:
        """A share as it is stored: its key record, and its encrypted file in blocks.

        Raises:
            DamagedError: it is gone. Reading the blocks may raise ``OSError``.
        """
        with self._refusals("read"):
            return self._files.sealed(model)

    def vouch(self, record: Record) -> tuple[bytes, bytes]:
        """A proof for whoever has the same storage keys that a model is in force here: the id of
        a key (8 bytes), and a MAC under it (32 bytes).
        """
        return self._vault.key_id, self._vault.mac(_IN_FORCE, _vouched(record))

    def check_vouched(self, record: Record, key_id: bytes, mac: bytes) -> bool:
        """Whether another process of this party has that model in force.

        Raises:
            ConfigError: the proof is under a storage key that we do not have.
        """
        return self._vault.check_mac(_IN_FORCE, _vouched(record), mac, key_id)

    def unseal(self, record: Record, key_record: bytes, file: bytes) -> bytearray:
        """The payload of what ``sealed`` has given at another process of this party.

        Raises:
            DamagedError, ConfigError: it is not under a storage key that we have.
        """
        return self._files.unseal(record.model, self._digest(record), key_record, file)

    def _digest(self, record: Record) -> bytes:
        return bytes.fromhex(Manifest.parse(record.manifest).share_hashes[self._index])

    def _erase_quietly(self, model: str) -> None:
        # No record names it any more; the next start tries again.
        try:
            self._files.erase(model)
        except OSError as error:
            log.error("a share is left over and goes at the next start: %s", reason(error))

    @contextlib.contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (OSError, sqlite3.Error) as error:
            self.refusals += 1
            raise UnavailableError(
                f"party {self._index}: nothing was {what}: {reason(error)}",
                status=503,
                code="disk",
            ) from None


def _bury(db: sqlite3.Connection, model: str) -> None:
    db.execute("DELETE FROM models WHERE model = ?", (model,))
    # So that nobody can bring it back by sending its push again.
    db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, x'')", (model,))


def _vouched(record: Record) -> list[bytes]:
    return [bytes.fromhex(record.model), record.signature, record.certificate or b""]

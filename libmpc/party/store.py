"""What a party keeps on disk: its weight shares, who may do what with them, and counts.

Records live in SQLite (write-ahead log, ``synchronous=FULL``: a commit that has returned survives
``kill -9`` and power loss); share payloads are files beside it, written and flushed before the
record that names them. Keys, masks and bundles are never stored: they die with the process.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libmpc.disk import Disk, FileDisk
from libmpc.errors import ConfigError, ConflictError

SCHEMA_VERSION = 1

_BLOCK = 1 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    model TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'stored')),
    serving INTEGER NOT NULL DEFAULT 0,
    num_requests INTEGER,
    served INTEGER NOT NULL DEFAULT 0,
    manifest BLOB NOT NULL,
    signature BLOB NOT NULL,
    certificate BLOB,
    command BLOB,
    command_ms INTEGER NOT NULL DEFAULT 0,
    expires_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_model_per_name ON models (name) WHERE state = 'stored';
CREATE TABLE IF NOT EXISTS tombstones (model TEXT PRIMARY KEY, command BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Record:
    """One model as stored: its manifest and what its owner has last said of it."""

    model: str  # digest, hex
    name: str
    state: str  # "prepared" or "stored"
    manifest: bytes = field(repr=False)
    signature: bytes = field(repr=False)  # the owner's, over the manifest
    expires_ms: int  # of the push
    serving: bool = False
    num_requests: int | None = None
    served: int = 0
    certificate: bytes | None = field(default=None, repr=False)  # the three receipts, JSON
    command: bytes | None = field(default=None, repr=False)  # the last signed command, JSON
    command_ms: int = 0

    @property
    def period(self) -> Period:
        """What its count belongs to."""
        return self.model, self.command_ms


#: a model (digest, hex) since its owner's last command (``command_ms``): what a limit is for
Period = tuple[str, int]


class Store:
    """A party's durable state in one directory. Safe to call from several threads.

    Args:
        directory: made if missing, with mode 0700.
        disk: where every durable step is taken.

    Raises:
        ConfigError: the directory cannot be used, or holds another version's data.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._disk = disk or FileDisk()
        self._shares = directory / "shares"
        try:
            self._disk.make_directory(directory)
            self._disk.make_directory(self._shares)
            self._db = self._disk.connect(directory / "party.sqlite")
            self._make_tables()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{directory}: cannot be used as a party's data: {error}") from None
        self._lock = threading.Lock()
        self._remove_orphans()

    def _make_tables(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        if version != 0:
            raise ConfigError(
                f"the data are of format {version}, this libmpc reads format {SCHEMA_VERSION}"
            )
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._disk.commit(self._db)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._disk.commit(self._db)
            except BaseException:
                if self._db.in_transaction:  # a commit that failed may have ended it
                    self._db.execute("ROLLBACK")
                raise

    def records(self) -> list[Record]:
        """Every model, stored or only prepared."""
        with self._lock:
            cursor = self._db.execute("SELECT * FROM models ORDER BY name")
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
        return [Record(**{**row, "serving": bool(row["serving"])}) for row in found]

    def tombstones(self) -> dict[str, bytes]:
        """Deleted models, with the owner's signed command; empty for one that was replaced."""
        with self._lock:
            return dict(self._db.execute("SELECT model, command FROM tombstones").fetchall())

    def share(self, model: str) -> bytes:
        """The share payload of ``model``; its hash is the caller's to check."""
        return b"".join(self._disk.read(self._share_file(model), _BLOCK))

    def prepare(self, record: Record, payload: bytes | memoryview) -> None:
        """Keep a pushed share durably, not yet in force."""
        self._write_share(record.model, payload)
        with self._transaction() as db:
            db.execute(
                "INSERT INTO models (model, name, state, manifest, signature, expires_ms)"
                " VALUES (?, ?, 'prepared', ?, ?, ?) ON CONFLICT (model) DO NOTHING",
                (record.model, record.name, record.manifest, record.signature, record.expires_ms),
            )

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
        try:
            with self._transaction() as db:
                if replaces is not None:
                    db.execute("DELETE FROM models WHERE model = ?", (replaces,))
                    # So that nobody can bring it back by sending its push again.
                    db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, x'')", (replaces,))
                db.execute(
                    "UPDATE models SET state = 'stored', certificate = ?, serving = ?,"
                    " num_requests = ?, served = 0 WHERE model = ? AND state = 'prepared'",
                    (certificate, serving, num_requests, model),
                )
        except sqlite3.IntegrityError:
            raise ConflictError("the name is in use by another model", status=409) from None
        if replaces is not None:
            self._remove_share(replaces)

    def set_serving(
        self, model: str, serving: bool, num_requests: int | None, command: bytes, command_ms: int
    ) -> None:
        """Apply a signed serve or stop; serving begins a new count."""
        with self._transaction() as db:
            db.execute(
                "UPDATE models SET serving = ?, num_requests = ?, command = ?, command_ms = ?,"
                " served = CASE WHEN ? THEN 0 ELSE served END WHERE model = ?",
                (serving, num_requests, command, command_ms, serving, model),
            )

    def add_served(self, counts: Mapping[Period, int]) -> None:
        """Add to the counts of requests served, for several models at once.

        A count of a period that has ended since changes nothing.
        """
        with self._transaction() as db:
            db.executemany(
                "UPDATE models SET served = served + ? WHERE model = ? AND command_ms = ?",
                [(count, *period) for period, count in counts.items()],
            )

    def delete(self, model: str, command: bytes) -> None:
        """Remove a model for good and remember that, and on whose word."""
        with self._transaction() as db:
            db.execute("DELETE FROM models WHERE model = ?", (model,))
            db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?)", (model, command))
        self._remove_share(model)

    def discard(self, model: str) -> None:
        """Forget a model that was prepared and never committed."""
        with self._transaction() as db:
            db.execute("DELETE FROM models WHERE model = ? AND state = 'prepared'", (model,))
        self._remove_share(model)

    def _share_file(self, model: str) -> Path:
        if len(model) != 64 or not set(model) <= set("0123456789abcdef"):
            raise ValueError("not a model digest")
        return self._shares / f"{model}.share"

    def _write_share(self, model: str, payload: bytes | memoryview) -> None:
        target = self._share_file(model)
        part = target.with_suffix(".part")
        self._disk.write(part, [payload])
        self._disk.rename(part, target)

    def _remove_share(self, model: str) -> None:
        self._disk.remove(self._share_file(model))

    def _remove_orphans(self) -> None:
        # A crash between a share file and its record leaves a file that no record names.
        known = {f"{record.model}.share" for record in self.records()}
        for name in self._disk.names(self._shares):
            if name not in known:
                self._disk.remove(self._shares / name)

"""A party's records: which models it has, what their owners have last said, and counts.

SQLite with a write-ahead log and ``synchronous=FULL``: a commit that has returned survives
``kill -9`` and a loss of power. Every transaction ends with a MAC over all records and a number
that rises by one, so that a damaged database is noticed where it is opened; the number is also
noted in a file beside it (see ``newest``).
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from libmpc.disk import Disk
from libmpc.errors import ConfigError
from libmpc.party.newest import NUMBER_BYTES, Newest
from libmpc.party.vault import Vault

FORMAT = 2
DATABASE = "party.sqlite"
SHARES = "shares"

_MODELS = """CREATE TABLE models (
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
)"""
_FIRST = (
    _MODELS,
    "CREATE UNIQUE INDEX one_model_per_name ON models (name) WHERE state = 'stored'",
    "CREATE TABLE tombstones (model TEXT PRIMARY KEY, command BLOB NOT NULL)",
)
_SECOND = (
    "CREATE TABLE seal (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL,"
    " key_id BLOB NOT NULL, mac BLOB NOT NULL)",
)
# Columns by name, here and wherever rows are written: a later minor version may have more.
# The manifest is left out: its hash is the model's digest, which is checked where it is loaded.
_ROW = (
    "SELECT model, name, state, serving, num_requests, served, signature, certificate, command,"
    " command_ms, expires_ms FROM models"
)
_TOMBSTONE = "SELECT model, command FROM tombstones"


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


class Records:
    """The database. Safe to call from several threads.

    Raises:
        ConfigError: damaged, of an unknown format, or under a storage key that is not there.
        OSError, sqlite3.Error: the disk refuses.
    """

    def __init__(self, directory: Path, vault: Vault, disk: Disk) -> None:
        self._directory = directory
        self._vault = vault
        self._disk = disk
        self._newest = Newest(directory, vault, disk)
        self._lock = threading.Lock()
        self._number = 0
        self._rows: dict[str, bytes] = {}  # digest of each record, by model
        self._dead: dict[str, bytes] = {}  # of each tombstone
        self._db = disk.connect(directory / DATABASE)
        (self.format,) = self._db.execute("PRAGMA user_version").fetchone()
        if self.format not in (0, 1, FORMAT):
            raise ConfigError(
                f"{directory}: the data are of format {self.format}, this libmpc reads format"
                f" {FORMAT}"
            )
        if self.format == 0:
            self._check_new()
            self._change(*_FIRST, *_SECOND)
        self._load()
        if self.format == FORMAT:
            self._check()

    def upgrade(self) -> None:
        """From format 1, which had no MAC."""
        self._change(*_SECOND)

    def _change(self, *statements: str) -> None:
        with self.transaction() as db:
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {FORMAT}")
        self.format = FORMAT

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def all(self) -> list[Record]:
        """Every model, stored or only prepared, by name."""
        with self._lock:
            cursor = self._db.execute(f"{_ROW.replace(' FROM', ', manifest FROM')} ORDER BY name")
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
        return [Record(**{**row, "serving": bool(row["serving"])}) for row in found]

    def tombstones(self) -> dict[str, bytes]:
        """Deleted models, the newest last, with the owner's signed command; empty for one that was
        replaced.
        """
        with self._lock:
            return dict(self._db.execute(f"{_TOMBSTONE} ORDER BY rowid").fetchall())

    @contextlib.contextmanager
    def transaction(self, *models: str) -> Iterator[sqlite3.Connection]:
        """Change records, durably once the block has ended; not at all if it raises.

        Args:
            models: digests of all models that the block changes, adds or removes.
        """
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self._read(models) != self._known(models):
                    raise _damaged(self._directory / DATABASE)
                yield self._db
                rows, dead = self._read(models)
                self._commit(rows, dead, models)
            except BaseException:
                if self._db.in_transaction:  # a commit that failed may have ended it
                    self._db.execute("ROLLBACK")
                raise

    def forget_log(self) -> None:
        """Move everything out of the log, so that what was deleted is not in it either."""
        # It tries again by itself later; nothing depends on it.
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _commit(
        self, rows: dict[str, bytes], dead: dict[str, bytes], models: tuple[str, ...]
    ) -> None:
        number = self._number + 1
        rows, dead = self._with(self._rows, rows, models), self._with(self._dead, dead, models)
        mac = self._vault.mac("records", _fields(number, rows, dead))
        self._db.execute(
            "INSERT OR REPLACE INTO seal VALUES (1, ?, ?, ?)", (number, self._vault.key_id, mac)
        )
        self._disk.commit(self._db)
        self._number, self._rows, self._dead = number, rows, dead
        self._newest.note(number)

    @staticmethod
    def _with(
        old: dict[str, bytes], new: dict[str, bytes], changed: tuple[str, ...]
    ) -> dict[str, bytes]:
        both = old | new
        for model in changed:
            if model not in new:
                both.pop(model, None)
        return both

    def _check_new(self) -> None:
        # What no record names is erased; a database that was lost must not have that effect.
        if self._newest.there or self._disk.names(self._directory / SHARES):
            raise ConfigError(
                f"{self._directory}: there are shares and no records of them, {DATABASE} is empty"
                " or gone; restore this party's data from a backup (operations.md, Backup)"
            )

    def _load(self) -> None:
        self._rows = {row[0]: _digest(row) for row in self._db.execute(_ROW)}
        self._dead = {row[0]: _digest(row) for row in self._db.execute(_TOMBSTONE)}

    def _check(self) -> None:
        place = self._directory / DATABASE
        # Indices are not under the MAC, and changes find their rows by them.
        if self._db.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
            raise _damaged(place)
        found = self._db.execute("SELECT number, key_id, mac FROM seal").fetchall()
        if len(found) != 1 or not _is_seal(*found[0]):
            raise _damaged(place)
        ((self._number, key_id, mac),) = found
        fields = _fields(self._number, self._rows, self._dead)
        if not self._vault.check_mac("records", fields, mac, key_id):
            raise _damaged(place)
        self._newest.check(self._number)
        if key_id != self._vault.key_id:
            with self.transaction():
                pass  # the MAC under the first key

    def _known(self, models: tuple[str, ...]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        return (
            {m: self._rows[m] for m in models if m in self._rows},
            {m: self._dead[m] for m in models if m in self._dead},
        )

    def _read(self, models: tuple[str, ...]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        found: list[dict[str, bytes]] = []
        for query in (_ROW, _TOMBSTONE):
            rows = [self._db.execute(f"{query} WHERE model = ?", (m,)).fetchone() for m in models]
            found.append({row[0]: _digest(row) for row in rows if row is not None})
        return found[0], found[1]


def _fields(number: int, rows: dict[str, bytes], dead: dict[str, bytes]) -> list[bytes]:
    head = number.to_bytes(NUMBER_BYTES) + len(rows).to_bytes(NUMBER_BYTES)
    return [head, b"".join(sorted(rows.values())), b"".join(sorted(dead.values()))]


def _digest(row: tuple[object, ...]) -> bytes:
    """SHA-256 over values and their types; two different rows never give the same bytes."""
    total = hashlib.sha256()
    for value in row:
        data = value if isinstance(value, bytes) else str(value).encode()
        kind = type(value).__name__[0].encode()  # int, str, bytes, NoneType, float
        total.update(kind + len(data).to_bytes(8) + data)
    return total.digest()


def _is_seal(number: object, key_id: object, mac: object) -> bool:
    fits = isinstance(number, int) and 0 <= number < 1 << (8 * NUMBER_BYTES - 1)
    return fits and isinstance(key_id, bytes) and isinstance(mac, bytes)


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is damaged or was changed by somebody else; restore this party's data from a"
        " backup (operations.md, Backup)"
    )

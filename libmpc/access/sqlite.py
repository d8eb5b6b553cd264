"""The embedded database: one file in the gateway's own directory.

A write-ahead log and full synchronisation: a commit that has returned survives ``kill -9`` and
power loss, ``libmpc token`` may write while the gateway runs, and a reader never waits for a
writer.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from libmpc.access.database import Row, StoreError, Transaction
from libmpc.errors import ConfigError

FILE_NAME = "tokens.sqlite"
SCHEMA_VERSION = 1

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS tokens (id TEXT PRIMARY KEY, document BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS usage (
    id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (id, model)
);
CREATE TABLE IF NOT EXISTS changes (number INTEGER NOT NULL);
INSERT INTO changes SELECT 0 WHERE NOT EXISTS (SELECT * FROM changes);
COMMIT;
"""


class SqliteDatabase:
    """The file in a directory. For one gateway, and for commands beside it.

    Args:
        directory: made if missing, with mode 0700.

    Raises:
        ConfigError: the file cannot be used, or is another version's.
    """

    shared = False

    def __init__(self, directory: Path) -> None:
        path = directory / FILE_NAME
        self.name = str(path)
        self._path = path
        self._lock = threading.Lock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its log the mode of the file, so this is the one that counts.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._write = self._connect()
            self._check_version()
            self._write.executescript(_SCHEMA)
            # A connection of its own, so that reading never waits for a commit to reach the disk.
            self._read = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: cannot be used for tokens: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        found = sqlite3.connect(
            self._path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        found.execute("PRAGMA journal_mode = WAL")
        found.execute("PRAGMA synchronous = FULL")
        found.execute("PRAGMA secure_delete = ON")
        found.execute("PRAGMA foreign_keys = ON")
        return found

    def _check_version(self) -> None:
        (version,) = self._write.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._write.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise ConfigError(
                f"{self._path} is of format {version}, this libmpc reads format {SCHEMA_VERSION}"
            )

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        try:
            return self._read.execute(query, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.name}: {error}") from None

    @contextlib.contextmanager
    def transaction(self, durable: bool = True) -> Iterator[Transaction]:
        with self._lock:
            try:
                self._write.execute("BEGIN IMMEDIATE")
                try:
                    yield _Statements(self._write)
                    self._write.execute("COMMIT")
                except BaseException:
                    # A full disk may have ended the transaction already.
                    if self._write.in_transaction:
                        self._write.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"{self.name}: {error}") from None

    def close(self) -> None:
        with self._lock:
            self._read.close()
            self._write.close()


class _Statements:
    """A connection on which BEGIN IMMEDIATE has locked what FOR UPDATE would."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._connection.execute(query.replace(" FOR UPDATE", ""), tuple(parameters))

"""The file of a gateway's tokens and of the images that count towards their quotas.

SQLite with a write-ahead log and full synchronisation: a commit that has returned survives ``kill
-9`` and power loss, ``libmpc token`` may write while the gateway runs, and a reader never waits for
a writer. The gateway asks for ``changes`` at every request (10 µs), so what was revoked opens
nothing from then on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from libmpc.access.grant import MAX_GRANTS, Grant
from libmpc.errors import ConfigError, ConflictError, LimitError
from libmpc.wire.errors import WireError

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


class AccessStore:
    """Tokens and counts in one directory. Safe to call from several threads and processes.

    Args:
        directory: made if missing, with mode 0700.

    Raises:
        ConfigError: the file cannot be used, or is another version's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._lock = threading.Lock()
        self._parsed: dict[bytes, Grant] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its log the mode of the file, so this is the one that counts.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._write = self._connect()
            self._check_version()
            self._write.executescript(_SCHEMA)
            # A connection of its own, so that reading never waits for a commit to reach the disk.
            self._read = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self._path}: cannot be used for tokens: {error}") from None

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

    def close(self) -> None:
        with self._lock:
            self._read.close()
            self._write.close()

    # ---- tokens

    def changes(self) -> int:
        """A number that is another one after every change of a token, by whatever process.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        (number,) = self._read.execute("SELECT number FROM changes").fetchone()
        return int(number)

    def grants(self) -> list[Grant]:
        """Every token, the oldest first.

        Raises:
            ConfigError: the file holds something else than tokens.
            sqlite3.Error: it cannot be read.
        """
        # Whoever edits the file by hand may leave text.
        query = "SELECT CAST(document AS BLOB) FROM tokens ORDER BY rowid"
        documents = [document for (document,) in self._read.execute(query)]
        try:
            # Of thousands of tokens, one has changed; the others are not checked again.
            self._parsed = {one: self._parsed.get(one) or Grant.parse(one) for one in documents}
        except WireError as error:
            raise ConfigError(f"{self._path} is damaged: {error}") from None
        return list(self._parsed.values())

    def add(self, grant: Grant) -> None:
        """Keep a token durably. The same one again changes nothing.

        Raises:
            ConflictError: another one has its id.
            LimitError: there are too many.
            sqlite3.Error: it cannot be stored.
        """
        document = grant.encode()
        with self._transaction() as db:
            row = db.execute("SELECT document FROM tokens WHERE id = ?", (grant.id,)).fetchone()
            if row is not None:
                if row[0] != document:
                    raise ConflictError(f"there is another token {grant.id}", status=409)
                return
            (count,) = db.execute("SELECT count(*) FROM tokens").fetchone()
            if count >= MAX_GRANTS:
                text = f"there are {MAX_GRANTS} tokens; revoke those that are not used any more"
                raise LimitError(text, status=429)
            db.execute("INSERT INTO tokens VALUES (?, ?)", (grant.id, document))
            db.execute("UPDATE changes SET number = number + 1")

    def remove(self, token: str) -> bool:
        """Forget the token of that id, and its counts; whether there was one.

        Raises:
            sqlite3.Error: it cannot be stored.
        """
        with self._transaction() as db:
            there = db.execute("DELETE FROM tokens WHERE id = ?", (token,)).rowcount > 0
            if there:
                db.execute("UPDATE changes SET number = number + 1")
            return there

    # ---- counts

    def usage(self, token: str) -> dict[str, int]:
        """Images that count towards a token's quota, by model.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        query = "SELECT model, images FROM usage WHERE id = ? ORDER BY model"
        return dict(self._read.execute(query, (token,)).fetchall())

    def count(self, token: str, model: str, images: int) -> None:
        """Set a count durably; nothing, if the token has been revoked.

        Raises:
            sqlite3.Error: it cannot be stored.
        """
        self.count_all([(token, model, images)])

    def count_all(self, counts: Iterable[tuple[str, str, int]]) -> None:
        """Set counts (token, model, images) durably, all or none; as ``count``.

        Raises:
            sqlite3.Error: they cannot be stored.
        """
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO usage SELECT id, ?, ? FROM tokens WHERE id = ?"
                " ON CONFLICT (id, model) DO UPDATE SET images = excluded.images",
                [(model, images, token) for token, model, images in counts],
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._write.execute("BEGIN IMMEDIATE")
            try:
                yield self._write
                self._write.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._write.in_transaction:
                    self._write.execute("ROLLBACK")
                raise

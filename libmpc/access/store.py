"""A gateway's tokens, in whichever database they are."""

from __future__ import annotations

from pathlib import Path

from libmpc.access.counts import Counts, Entry
from libmpc.access.database import Database, Transaction
from libmpc.access.grant import MAX_GRANTS, Grant
from libmpc.access.sqlite import FILE_NAME, SqliteDatabase
from libmpc.errors import ConfigError, ConflictError, LimitError
from libmpc.wire.errors import WireError

__all__ = ["FILE_NAME", "AccessStore"]


class AccessStore:
    """Tokens and counts. Safe to call from several threads and processes.

    Args:
        where: a database, or the directory of the embedded one.

    Attributes:
        counts: what has been used of the tokens' limits.

    Raises:
        ConfigError: the file cannot be used, or is another version's.
    """

    def __init__(self, where: Path | Database) -> None:
        self._db: Database = SqliteDatabase(where) if isinstance(where, Path) else where
        self.counts = Counts(self._db)
        self._parsed: dict[bytes, Grant] = {}

    @property
    def shared(self) -> bool:
        """Whether other gateways may use the database, and asking it may take long."""
        return self._db.shared

    def close(self) -> None:
        self._db.close()

    # ---- tokens

    def changes(self) -> int:
        """A number that is another one after every change of a token, by whatever process.

        Raises:
            StoreError: the database cannot be asked, here and below.
        """
        ((number,),) = self._db.read("SELECT number FROM changes")
        return int(number)

    def entries(self) -> list[Entry]:
        """Every token, the oldest first.

        Raises:
            ConfigError: there is something else than tokens.
        """
        rows = self._db.read("SELECT rowid, document FROM tokens ORDER BY rowid")
        documents = [(number, _bytes(document)) for number, document in rows]
        known = self._parsed
        try:
            # Of thousands of tokens, one has changed; the others are not checked again.
            self._parsed = {one: known.get(one) or Grant.parse(one) for _, one in documents}
        except WireError as error:
            raise ConfigError(f"{self._db.name} is damaged: {error}") from None
        parsed = self._parsed
        return [Entry(number, parsed[one]) for number, one in documents]

    def grants(self) -> list[Grant]:
        """Every token, as ``entries``."""
        return [entry.grant for entry in self.entries()]

    def add(self, grant: Grant) -> None:
        """Keep a token durably. The same one again changes nothing.

        Raises:
            ConflictError: another one has its id.
            LimitError: there are too many.
        """
        with self._db.transaction() as db:
            self._insert(db, grant)

    def remove(self, token: str) -> bool:
        """Forget the token of that id, and its counts; whether there was one."""
        with self._db.transaction() as db:
            number = self._next(db)
            there = db.execute("DELETE FROM tokens WHERE id = ?", (token,)).rowcount > 0
            if there:
                db.execute("UPDATE changes SET number = ?", (number,))
            return there

    def copy_from(self, other: AccessStore) -> tuple[int, int]:
        """Take over another store's tokens and counts, all or none.

        One that is here already is left as it is, so that doing it again changes nothing.

        Returns:
            how many tokens were taken over, and how many were here.

        Raises:
            ConflictError: another token here has the id of one of them.
            LimitError: there would be too many.
        """
        grants, used = other.grants(), other.usages()
        with self._db.transaction() as db:
            added = [self._insert(db, grant) for grant in grants]
            for grant in (grant for grant, new in zip(grants, added, strict=True) if new):
                for model, images in used.get(grant.id, {}).items():
                    statement = "INSERT INTO usage (id, model, images) VALUES (?, ?, ?)"
                    db.execute(statement, (grant.id, model, images))
        return sum(added), len(added) - sum(added)

    def _insert(self, db: Transaction, grant: Grant) -> bool:
        """Add a token; false if it is there."""
        document, number = grant.encode(), self._next(db)
        row = db.execute("SELECT document FROM tokens WHERE id = ?", (grant.id,)).fetchone()
        if row is not None:
            if _bytes(row[0]) != document:
                raise ConflictError(f"there is another token {grant.id}", status=409)
            return False
        (count,) = db.execute("SELECT count(*) FROM tokens").fetchone()
        if count >= MAX_GRANTS:
            text = f"there are {MAX_GRANTS} tokens; revoke those that are not used any more"
            raise LimitError(text, status=429)
        # No number is used twice, since there were never more tokens than changes.
        db.execute(
            "INSERT INTO tokens (rowid, id, document) VALUES (?, ?, ?)",
            (number, grant.id, document),
        )
        db.execute("UPDATE changes SET number = ?", (number,))
        return True

    def _next(self, db: Transaction) -> int:
        """The number of the next change; until the commit nobody else makes one."""
        return int(db.execute("SELECT number FROM changes FOR UPDATE").fetchone()[0]) + 1

    # ---- what has been used

    def usage(self, token: str) -> dict[str, int]:
        """Images that count towards a token's quota, by model."""
        query = "SELECT model, images FROM usage WHERE id = ? AND images > 0 ORDER BY model"
        return dict(self._db.read(query, (token,)))

    def usages(self) -> dict[str, dict[str, int]]:
        """``usage`` of every token that has any."""
        found: dict[str, dict[str, int]] = {}
        query = "SELECT id, model, images FROM usage WHERE images > 0 ORDER BY id, model"
        for token, model, images in self._db.read(query):
            found.setdefault(token, {})[model] = images
        return found


def _bytes(document: bytes | str) -> bytes:
    # Whoever edits SQLite's file by hand may leave text.
    return document.encode() if isinstance(document, str) else bytes(document)

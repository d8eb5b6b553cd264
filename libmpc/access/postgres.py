"""PostgreSQL, for several gateways at once.

Every wait is bounded here, since the server's own limits say nothing about a server that is frozen
or cut off: by ``statement_timeout`` at the server and, half a second later, on this side. The few
connections are made when they are needed, so that service resumes with the first question after an
outage; psycopg's own pool waits longer and longer between its attempts.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from libmpc.access.database import Cursor, Row, StoreError, Transaction
from libmpc.access.postgres_url import Target
from libmpc.errors import ConfigError
from libmpc.identity.files import read_private

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
CONNECTIONS = 4
#: "libmpc" as a number: who makes or changes the tables holds this lock
_MIGRATION = 0x6C69626D7063
_SLACK = 0.5

# A token's ``rowid`` is what SQLite has by itself: its place among all that were ever added.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    rowid BIGINT NOT NULL UNIQUE,
    id TEXT PRIMARY KEY,
    document BYTEA NOT NULL
);
CREATE TABLE IF NOT EXISTS usage (
    id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    images BIGINT NOT NULL,
    PRIMARY KEY (id, model)
);
CREATE TABLE IF NOT EXISTS rates (
    id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    what TEXT NOT NULL,
    free DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id, what)
);
CREATE TABLE IF NOT EXISTS changes (number BIGINT NOT NULL);
INSERT INTO changes SELECT 0 WHERE NOT EXISTS (SELECT * FROM changes);
CREATE TABLE IF NOT EXISTS format (number INTEGER NOT NULL);
INSERT INTO format SELECT 1 WHERE NOT EXISTS (SELECT * FROM format);
"""


class PostgresDatabase:
    """A database and role at a PostgreSQL server.

    Args:
        url: ``postgresql://...``, see ``Target``.
        password: of the role, unless it is in the URL; a path is read for every new connection.
        timeout: seconds that one statement may take.

    Raises:
        ConfigError: the URL is wrong, the server cannot be asked, or the tables in it are another
            version's.
    """

    shared = True

    def __init__(
        self, url: SecretStr, password: SecretStr | Path | None = None, timeout: float = 2.0
    ) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ConfigError(
                f"PostgreSQL needs psycopg ({error}): pip install 'libmpc[postgres]'"
            ) from None
        self._target = Target.parse(url)
        self._password = password
        self._timeout = timeout
        self._errors: type[Exception] = psycopg.Error
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._idle: list[psycopg.Connection[Any]] = []
        self._closed = False
        self.name = f"the database {self._target.shown}"
        if self._target.warning:
            logger.warning("%s: %s", self.name, self._target.warning)
        try:
            self._make_tables()
        except ConfigError:
            self.close()
            raise
        except StoreError as error:
            self.close()
            raise ConfigError(f"{error}; docs/gateways.md says how to set it up") from None

    # ---- connections

    def _connect(self) -> psycopg.Connection[Any]:
        from libmpc.access.postgres_bounded import connect

        password = self._password
        if isinstance(password, Path):
            if not password.exists():
                raise ConfigError(f"there is no {password} (database_password_file)")
            password = SecretStr(read_private(password, "the database's password").decode().strip())
        more = {} if password is None else {"password": password.get_secret_value()}
        made = connect(self._target.parameters | more, self._timeout + _SLACK)
        millis = f"{round(1000 * self._timeout)}"
        # A gateway that is frozen must not keep a row from the others.
        limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        try:
            for limit in limits:
                made.execute("SELECT set_config(%s, %s, false)", (limit, millis))
        except BaseException:
            made.close()
            raise
        return made

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        if not self._slots.acquire(timeout=self._timeout):
            raise StoreError(f"{self.name}: all {CONNECTIONS} connections are busy")
        connection = None
        try:
            connection = self._take() or self._connect()
            yield connection
        except (self._errors, OSError, ConfigError) as error:
            # Whatever it was, the next question gets a connection that nothing has happened to.
            if connection is not None:
                connection.close()
            raise StoreError(f"{self.name}: {_first_line(error)}") from None
        finally:
            if connection is not None:
                self._put(connection)
            self._slots.release()

    def _take(self) -> psycopg.Connection[Any] | None:
        while self._idle:
            with contextlib.suppress(IndexError):
                found = self._idle.pop()
                # A server that has ended a connection has said so; nothing else is unasked for.
                watch = select.poll()
                watch.register(found.fileno(), select.POLLIN)
                if not watch.poll(0):
                    return found
                found.close()
        return None

    def _put(self, connection: psycopg.Connection[Any]) -> None:
        if connection.closed or connection.info.transaction_status != 0 or self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    # ---- statements

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        with self._connection() as connection:
            return _Statements(connection).execute(query, parameters).fetchall()

    @contextlib.contextmanager
    def transaction(self, durable: bool = True) -> Iterator[Transaction]:
        with self._connection() as connection, connection.transaction():
            if not durable:
                connection.execute("SET LOCAL synchronous_commit = off")
            yield _Statements(connection)

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    # ---- tables

    def _make_tables(self) -> None:
        # Asked first, since a role that may only read and write them need not be able to.
        ((there,),) = self.read("SELECT to_regclass('format') IS NOT NULL")
        if not there:
            with self.transaction() as db:
                # Gateways that start together: one makes the tables, the others find them.
                db.execute("SELECT pg_advisory_xact_lock(?)", (_MIGRATION,))
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
        ((version,),) = self.read("SELECT number FROM format")
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{self.name} has tables of format {version}, this libmpc reads format"
                f" {SCHEMA_VERSION}"
            )


class _Statements:
    """A connection that takes ``?`` for parameters, as SQLite does."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[object] = ()) -> Cursor:
        return self._connection.execute(query.replace("?", "%s").encode(), tuple(parameters))


def _first_line(error: Exception) -> str:
    # SECURITY: further lines may repeat what was to be stored.
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

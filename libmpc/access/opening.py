"""Which database a gateway's settings mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from libmpc.access.store import AccessStore


@dataclass(frozen=True)
class Where:
    """The settings that say it.

    Attributes:
        data: directory of the embedded database.
        database: URL of PostgreSQL; ``None``: the embedded one.
        password: of the role in the URL, or the file that it is in.
        timeout: seconds that the database may take to answer.
    """

    data: Path
    database: SecretStr | None = None
    password: SecretStr | Path | None = None
    timeout: float = 2.0

    def open(self) -> AccessStore:
        """Open it; makes its tables, if there are none.

        Raises:
            ConfigError: it cannot be used.
        """
        if self.database is None:
            return AccessStore(self.data)
        from libmpc.access.postgres import PostgresDatabase

        return AccessStore(PostgresDatabase(self.database, self.password, self.timeout))

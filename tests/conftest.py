"""Databases for tests: SQLite everywhere, and PostgreSQL where a server can be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from libmpc.access.opening import Where
from tests.postgres import NoServer, Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server; a test that needs it is skipped, and says so, where there is none."""
    try:
        import psycopg  # noqa: F401

        server = Server()
    except (ImportError, NoServer) as error:
        pytest.skip(f"NOT TESTED: PostgreSQL. {error}")
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    """A database with nothing in it."""
    if request.param == "sqlite":
        return Where(tmp_path)
    return shared(request.getfixturevalue("postgres"), tmp_path)


@pytest.fixture
def shared_where(postgres: Server, tmp_path: Path) -> Where:
    """A database with nothing in it, for several gateways."""
    return shared(postgres, tmp_path)


def shared(server: Server, data: Path) -> Where:
    return Where(data, SecretStr(server.url(server.new_database())), timeout=10)

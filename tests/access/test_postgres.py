"""PostgreSQL as such: secrets, roles, versions, and a server that dies, freezes and comes back."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from libmpc.access import AccessStore, StoreError, make_grant
from libmpc.access.counts import Entry, Part
from libmpc.access.opening import Where
from libmpc.errors import ConfigError
from tests.postgres import Server

pytest.importorskip("psycopg", reason="NOT TESTED: PostgreSQL; pip install 'libmpc[postgres]'")


def entry_of(tokens: AccessStore, **limits: int) -> Entry:
    tokens.add(make_grant("somebody", "client", 1, **limits)[1])
    return tokens.entries()[-1]


@contextlib.contextmanager
def opened(where: Where) -> Iterator[AccessStore]:
    tokens = where.open()
    yield tokens
    tokens.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gate:hunter2@x@host/db",
        "postgresql://gate:hunter2/x@host/db",
        "postgresql://gate:hunter2%zz@host/db",
        "postgresql://gate:hunter2 x@host/db",
        "postgresql://hunter2@x:gate@host/db",
        "postgresql://host:hunter2/db",
        "postgresql://host/db?hunter2=1",
        "hunter2",
    ],
)
def test_a_url_that_is_wrong_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as error:
        Where(tmp_path, SecretStr(url)).open()
    assert "hunter2" not in str(error.value)
    assert "database_password_file" in str(error.value)
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://gate@db.example/x", "verify-full"),
        ("postgresql://gate@localhost,db.example/x", "verify-full"),
        ("postgresql://gate@db.example/x?sslmode=require", "require"),
        ("postgresql://gate@localhost/x", None),
        ("postgresql://gate@127.0.0.1/x", None),
        ("postgresql://gate@[::1]/x", None),
        ("postgresql:///x?host=/run/postgresql", None),
    ],
)
def test_tls_is_verified_unless_the_url_says_otherwise(url: str, mode: str | None) -> None:
    from libmpc.access.postgres_url import Target

    target = Target.parse(SecretStr(url))
    assert target.parameters.get("sslmode") == mode
    assert bool(target.warning) == (mode == "require")


def test_a_password_in_a_file(postgres: Server, tmp_path: Path) -> None:
    database = postgres.new_database()
    url = SecretStr(f"postgresql://postgres@127.0.0.1:{postgres.port}/{database}")
    file = tmp_path / "password"
    with pytest.raises(ConfigError, match="database_password_file"):
        Where(tmp_path, url, file).open()
    file.write_text(postgres.password + "\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        Where(tmp_path, url, file).open()
    file.chmod(stat.S_IRUSR)
    Where(tmp_path, url, file).open().close()
    Where(tmp_path, url, SecretStr(postgres.password)).open().close()
    for wrong in (SecretStr("hunter2"), None):
        with pytest.raises(ConfigError, match="postgres@127") as error:
            Where(tmp_path, url, wrong).open()
        assert "hunter2" not in str(error.value)
        assert "hunter2" not in repr(Where(tmp_path, url, wrong))


def test_tables_of_a_newer_version_are_refused(postgres: Server, shared_where: Where) -> None:
    shared_where.open().close()
    assert shared_where.database is not None
    database = shared_where.database.get_secret_value().rsplit("/", 1)[1]
    postgres.execute("UPDATE format SET number = 2", database)
    with pytest.raises(ConfigError, match="format 2, this libmpc reads format 1"):
        shared_where.open()


def test_the_role_of_a_gateway_needs_no_more_than_is_documented(
    postgres: Server, tmp_path: Path
) -> None:
    """As docs/gateways.md says: one role makes the tables, another one uses them."""
    database = postgres.new_database()
    postgres.execute("CREATE ROLE gate LOGIN PASSWORD 'only for tests'")
    url = postgres.url(database, "gate", "only%20for%20tests")
    try:
        with pytest.raises(ConfigError, match="permission denied"):
            Where(tmp_path, SecretStr(url)).open()
        Where(tmp_path, SecretStr(postgres.url(database))).open().close()
        for grant in (
            "GRANT SELECT, INSERT, DELETE ON tokens TO gate",
            "GRANT SELECT, INSERT, UPDATE ON usage, rates TO gate",
            "GRANT SELECT, UPDATE ON changes TO gate",
            "GRANT SELECT ON format TO gate",
        ):
            postgres.execute(grant, database)
        with opened(Where(tmp_path, SecretStr(url), timeout=10)) as tokens:
            entry = entry_of(tokens, images=10, requests_per_minute=10)
            assert tokens.counts.set_aside(entry, "mnist", 10, 10) == Part(10, 0)
            assert tokens.counts.pace(entry, "requests", 10, 1, 0, 0) is not None
            assert tokens.remove(entry.grant.id)
    finally:
        postgres.execute("DROP OWNED BY gate", database)
        postgres.execute("DROP ROLE gate")


def test_a_server_that_comes_back_is_used_again(postgres: Server, shared_where: Where) -> None:
    with opened(shared_where) as tokens:
        entry = entry_of(tokens, images=100)
        postgres.stop()  # at once, as a crash
        try:
            for call in (tokens.changes, tokens.entries, tokens.usages):
                with pytest.raises(StoreError, match="postgres@127"):
                    call()
            with pytest.raises(StoreError):
                tokens.counts.set_aside(entry, "mnist", 1, 1)
        finally:
            postgres.start()
        assert tokens.entries() == [entry]
        assert tokens.counts.set_aside(entry, "mnist", 100, 100) == Part(100, 0)
        # Connections that the restart has ended are noticed before they are used.
        postgres.stop()
        postgres.start()
        assert tokens.usages() == {entry.grant.id: {"mnist": 100}}


def test_a_server_that_is_frozen_does_not_keep_anybody(
    postgres: Server, shared_where: Where
) -> None:
    assert shared_where.database is not None
    with opened(Where(shared_where.data, shared_where.database, timeout=0.2)) as tokens:
        entry = entry_of(tokens, images=100)
        postgres.freeze()
        try:
            with pytest.raises(StoreError, match="does not answer"):
                tokens.changes()
            with pytest.raises(StoreError):  # a new connection
                tokens.changes()
        finally:
            postgres.thaw()
    with opened(shared_where) as tokens:
        assert tokens.entries() == [entry]


SPEND = """
import os, sys
from pathlib import Path
from pydantic import SecretStr
from libmpc.access.opening import Where
tokens = Where(Path('.'), SecretStr(sys.argv[1]), timeout=30).open()
(entry,) = tokens.entries()
crash_at, spent, spare = int(sys.argv[2]), 0, 0
print('ready', flush=True)
sys.stdin.readline()  # all begin together
while True:
    if not spare:
        part = tokens.counts.set_aside(entry, 'mnist', 1, 1)
        if not part.images:
            break
        spare = part.images
    spare, spent = spare - 1, spent + 1
    print(spent, flush=True)
    if spent == crash_at:
        print(spare, flush=True)
        os.kill(os.getpid(), 9)
"""


def test_processes_spend_one_quota_exactly_though_some_are_killed(
    postgres: Server, shared_where: Where
) -> None:
    limit, crashes = 5000, (0, 30, 0, 70)
    with opened(shared_where) as tokens:
        entry = entry_of(tokens, images=limit)
        assert shared_where.database is not None
        url = shared_where.database.get_secret_value()
        children = [
            subprocess.Popen(
                [sys.executable, "-c", SPEND, url, str(crash)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for crash in crashes
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        outputs = [child.communicate()[0].split() for child in children]
        assert [child.returncode for child in children] == [-9 if crash else 0 for crash in crashes]
        spent = lost = 0
        for crash, output in zip(crashes, outputs, strict=True):
            if crash:
                lost += int(output.pop())
            spent += len(output)
        # Not one more, and none gone but what the killed ones had set aside.
        assert spent + lost == limit
        assert lost > 0
        assert tokens.usage(entry.grant.id) == {"mnist": limit}


def test_a_server_that_crashes_under_load_gives_nothing_away(
    postgres: Server, shared_where: Where
) -> None:
    """What was acknowledged is counted after the crash; what was not may be, too."""
    limit, threads = 10**9, 4
    with opened(shared_where) as tokens:
        entry = entry_of(tokens, images=limit)
        taken, errors = [0] * threads, [0] * threads
        stopping = threading.Event()

        def spend(index: int) -> None:
            while not stopping.is_set():
                try:
                    part = tokens.counts.set_aside(entry, "mnist", 1, 1)
                except StoreError:
                    errors[index] += 1
                else:
                    assert part is not None
                    taken[index] += part.images

        def go_on(since: list[int]) -> None:
            while not all(now > then for now, then in zip(taken, since, strict=True)):
                assert sum(taken) < limit

        running = [threading.Thread(target=spend, args=(index,)) for index in range(threads)]
        for thread in running:
            thread.start()
        try:
            for _ in range(2):
                go_on(list(taken))
                postgres.stop()
                postgres.start()
        finally:
            stopping.set()
            for thread in running:
                thread.join()
        assert all(errors)
        counted = tokens.usage(entry.grant.id)["mnist"]
        assert sum(taken) <= counted <= limit


def test_a_minute_is_shared(shared_where: Where) -> None:
    with opened(shared_where) as tokens, opened(shared_where) as other:
        entry = entry_of(tokens, requests_per_minute=60)
        for store, need, units in ((tokens, 30, 30), (other, 25, 25)):
            taken = store.counts.pace(entry, "requests", 60, need, 0, 0)
            assert taken is not None and taken.units == units
        # Four units, or some more that came back since, are left.
        refused = other.counts.pace(entry, "requests", 60, 60, 0, 0)
        assert refused is not None and refused.units == 0
        assert 0 < refused.wait <= 55
        back = tokens.counts.pace(entry, "requests", 60, 20, 30, 30)
        assert back is not None and back.units >= 35
        tokens.remove(entry.grant.id)
        assert other.counts.pace(entry, "requests", 60, 1, 0, 0) is None

"""The file of tokens: durable, private, and the same for every process that has it open."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from libmpc.access import AccessStore, Grant, grant, make_grant, store
from libmpc.errors import ConfigError, ConflictError, LimitError


def new(name: str = "somebody", **limits: int) -> Grant:
    return make_grant(name, "client", 1, **limits)[1]


def test_what_was_added_is_there_until_it_is_removed(tmp_path: Path) -> None:
    first, second = new("first", images=5), new("second")
    tokens = AccessStore(tmp_path)
    before = tokens.changes()
    tokens.add(first)
    tokens.add(second)
    assert tokens.changes() == before + 2
    tokens.add(first)  # the same again
    assert tokens.changes() == before + 2
    assert tokens.grants() == [first, second]
    with pytest.raises(ConflictError):
        tokens.add(first.model_copy(update={"images": 6}))
    tokens.close()
    again = AccessStore(tmp_path)
    assert again.grants() == [first, second]
    assert again.remove(first.id)
    assert not again.remove(first.id)
    assert again.grants() == [second]
    assert again.changes() == before + 3
    again.close()


def test_counts_go_with_their_token(tmp_path: Path) -> None:
    token = new()
    tokens = AccessStore(tmp_path)
    tokens.count(token.id, "mnist", 3)  # of nobody
    assert tokens.usage(token.id) == {}
    tokens.add(token)
    tokens.count(token.id, "mnist", 3)
    tokens.count(token.id, "mnist", 5)
    tokens.count(token.id, "cifar", 1)
    assert tokens.usage(token.id) == {"cifar": 1, "mnist": 5}
    changes = tokens.changes()
    tokens.count(token.id, "mnist", 6)
    assert tokens.changes() == changes, "a gateway would read all tokens again"
    tokens.count_all([(token.id, "mnist", 8), ("0" * 12, "mnist", 1), (token.id, "new", 9)])
    assert tokens.usage(token.id) == {"cifar": 1, "mnist": 8, "new": 9}
    tokens.remove(token.id)
    tokens.add(token)
    assert tokens.usage(token.id) == {}
    tokens.close()


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    tokens = AccessStore(tmp_path / "data")
    tokens.add(new())
    files = list((tmp_path / "data").iterdir())
    assert len(files) == 3  # with the log and its index
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    tokens.close()


def test_no_token_is_in_it(tmp_path: Path) -> None:
    token, granted = make_grant("somebody", "admin", 1)
    tokens = AccessStore(tmp_path)
    tokens.add(granted)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert granted.sha256.encode() in content
    assert token.get_secret_value()[20:].encode() not in content
    tokens.close()


def test_what_returned_survives_kill_9(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from libmpc.access import AccessStore, make_grant\n"
        "_, grant = make_grant('somebody', 'client', 1, images=9)\n"
        "tokens = AccessStore(Path(sys.argv[1]))\n"
        "tokens.add(grant); tokens.count(grant.id, 'mnist', 7)\n"
        "print(grant.id, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.returncode == -9
    tokens = AccessStore(tmp_path)
    assert [one.id for one in tokens.grants()] == [done.stdout.strip()]
    assert tokens.usage(done.stdout.strip()) == {"mnist": 7}
    tokens.close()


def test_writers_side_by_side(tmp_path: Path) -> None:
    """As a gateway that counts and a command that makes tokens."""
    stores = [AccessStore(tmp_path) for _ in range(3)]
    made = [[new() for _ in range(20)] for _ in stores]

    def fill(index: int) -> None:
        for token in made[index]:
            stores[index].add(token)
            stores[index].count(token.id, "mnist", 1)

    threads = [threading.Thread(target=fill, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = {token.id for tokens in made for token in tokens}
    for one in stores:
        assert {token.id for token in one.grants()} == wanted
        one.close()


def test_there_are_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_GRANTS", 2)
    tokens = AccessStore(tmp_path)
    kept = new()
    tokens.add(kept)
    tokens.add(new())
    tokens.add(kept)
    with pytest.raises(LimitError, match="revoke those"):
        tokens.add(new())
    tokens.close()


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_files_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokens.sqlite"
    if content is None:
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 99")
        database.close()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"tokens\.sqlite"):
        AccessStore(tmp_path)


def test_an_entry_that_was_changed_by_hand(tmp_path: Path) -> None:
    tokens = AccessStore(tmp_path)
    tokens.add(new())
    database = sqlite3.connect(tmp_path / "tokens.sqlite")
    database.execute("UPDATE tokens SET document = replace(document, 'client', 'root')")
    database.commit()
    database.close()
    with pytest.raises(ConfigError, match="damaged.*role"):
        tokens.grants()
    tokens.close()


def test_roles_include_each_other() -> None:
    for index, role in enumerate(grant.ROLES):
        _, granted = make_grant("x", role, 1)
        assert [granted.allows(other) for other in grant.ROLES] == [
            index >= other for other in range(3)
        ]

"""The embedded database as a file: private, and refused if it is something else."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from libmpc.access import AccessStore, make_grant
from libmpc.access.counts import Part
from libmpc.errors import ConfigError


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    tokens = AccessStore(tmp_path / "data")
    tokens.add(make_grant("somebody", "client", 1)[1])
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
    tokens.add(make_grant("somebody", "client", 1)[1])
    database = sqlite3.connect(tmp_path / "tokens.sqlite")
    database.execute("UPDATE tokens SET document = replace(document, 'client', 'root')")
    database.commit()
    database.close()
    with pytest.raises(ConfigError, match="damaged.*role"):
        tokens.grants()
    tokens.close()


def test_a_file_of_before_there_were_numbers(tmp_path: Path) -> None:
    """An older build lets SQLite number its tokens, and reads what this one has numbered."""
    tokens = AccessStore(tmp_path)
    grants = [make_grant(name, "client", 1, images=50)[1] for name in ("a", "b", "c", "d")]
    database = sqlite3.connect(tmp_path / "tokens.sqlite", isolation_level=None)

    def as_before(index: int) -> None:
        document = grants[index].encode()
        database.execute("INSERT INTO tokens VALUES (?, ?)", (grants[index].id, document))
        database.execute("UPDATE changes SET number = number + 1")

    as_before(0)
    tokens.add(grants[1])
    assert tokens.remove(grants[1].id)
    tokens.add(grants[2])
    as_before(3)
    tokens.add(grants[1])
    database.close()
    entries = tokens.entries()
    assert [entry.grant.name for entry in entries] == ["a", "c", "d", "b"]
    assert len({entry.number for entry in entries}) == 4
    for entry in entries:
        assert tokens.counts.set_aside(entry, "mnist", 50, 50) == Part(50, 0)
    tokens.close()

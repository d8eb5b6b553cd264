"""The store of tokens, in SQLite and in PostgreSQL: durable, and the same for all who use it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from libmpc.access import AccessStore, Grant, grant, make_grant, store
from libmpc.access.counts import Entry, Part, Spare
from libmpc.access.opening import Where
from libmpc.errors import ConflictError, LimitError


def new(name: str = "somebody", **limits: int) -> Grant:
    return make_grant(name, "client", 1, **limits)[1]


def added(tokens: AccessStore, granted: Grant) -> Entry:
    tokens.add(granted)
    (entry,) = (one for one in tokens.entries() if one.grant == granted)
    return entry


def test_what_was_added_is_there_until_it_is_removed(where: Where) -> None:
    first, second = new("first", images=5), new("second")
    tokens = where.open()
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
    again = where.open()
    assert again.grants() == [first, second]
    assert again.remove(first.id)
    assert not again.remove(first.id)
    assert again.grants() == [second]
    assert again.changes() == before + 3
    again.close()


def test_what_is_set_aside_is_gone_for_everybody_else(where: Where) -> None:
    tokens, other = where.open(), where.open()
    entry = added(tokens, new(images=100))
    changes = tokens.changes()
    assert tokens.counts.set_aside(entry, "mnist", 4, 4) == Part(4 + 96 // 8, 84)
    assert other.counts.set_aside(entry, "mnist", 10, 20) == Part(20 + 64 // 8, 56)
    assert tokens.counts.set_aside(entry, "mnist", 57, 57) == Part(0, 56)
    assert tokens.counts.set_aside(entry, "cifar", 100, 200) == Part(100, 0)
    assert other.usage(entry.grant.id) == {"cifar": 100, "mnist": 44}
    assert other.usages() == {entry.grant.id: {"cifar": 100, "mnist": 44}}
    spare = Spare(entry.grant.id, entry.number, "mnist", 12)
    tokens.counts.give_back([spare, spare._replace(model="cifar", images=100)])
    assert other.usage(entry.grant.id) == {"mnist": 32}
    assert other.counts.set_aside(entry, "mnist", 68, 68) == Part(68, 0)
    assert tokens.changes() == changes, "a gateway would read all tokens again"
    tokens.close()
    other.close()


def test_counts_end_with_their_token(where: Where) -> None:
    tokens = where.open()
    entry = added(tokens, new(images=100))
    assert tokens.counts.set_aside(entry, "mnist", 40, 40) is not None
    assert tokens.remove(entry.grant.id)
    assert tokens.usages() == {}
    assert tokens.counts.set_aside(entry, "mnist", 1, 1) is None
    again = added(tokens, entry.grant)
    assert again.number > entry.number
    # Neither does a gateway that knows the old one only count, or give back, to the new one.
    assert tokens.counts.set_aside(entry, "mnist", 1, 1) is None
    assert tokens.counts.set_aside(again, "mnist", 10, 100) == Part(100, 0)
    tokens.counts.give_back([Spare(entry.grant.id, entry.number, "mnist", 40)])
    assert tokens.usage(entry.grant.id) == {"mnist": 100}
    tokens.close()


def test_what_returned_survives_kill_9(where: Where) -> None:
    done = child(where, "print(entry.grant.id, flush=True); os.kill(os.getpid(), 9)")
    assert done.returncode == -9
    tokens = where.open()
    assert [one.id for one in tokens.grants()] == [done.stdout.strip()]
    assert tokens.usage(done.stdout.strip()) == {"mnist": 7}
    tokens.close()


def child(where: Where, ending: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import os, sys; from pathlib import Path; from pydantic import SecretStr\n"
        "from libmpc.access import make_grant; from libmpc.access.opening import Where\n"
        "_, grant = make_grant('somebody', 'client', 1, images=9)\n"
        "url = SecretStr(sys.argv[2]) if len(sys.argv) > 2 else None\n"
        "tokens = Where(Path(sys.argv[1]), url, timeout=10).open(); tokens.add(grant)\n"
        "(entry,) = tokens.entries(); tokens.counts.set_aside(entry, 'mnist', 7, 7)\n"
    )
    url = [] if where.database is None else [where.database.get_secret_value()]
    command = [sys.executable, "-c", code + ending, where.data, *url]
    return subprocess.run(command, capture_output=True, text=True)


def test_writers_side_by_side(where: Where) -> None:
    """As gateways that count, and a command that makes tokens."""
    stores = [where.open() for _ in range(3)]
    made = [[new(images=9) for _ in range(20)] for _ in stores]

    def fill(index: int) -> None:
        for token in made[index]:
            entry = added(stores[index], token)
            assert stores[index].counts.set_aside(entry, "mnist", 9, 9) == Part(9, 0)

    threads = [threading.Thread(target=fill, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = {token.id for tokens in made for token in tokens}
    for one in stores:
        entries = one.entries()
        assert {entry.grant.id for entry in entries} == wanted
        assert len({entry.number for entry in entries}) == len(entries)
        assert one.usages() == {token: {"mnist": 9} for token in wanted}
        one.close()


def test_gateways_that_start_together_make_the_tables_once(where: Where) -> None:
    opened: list[AccessStore] = []
    ready = threading.Barrier(6)

    def start() -> None:
        ready.wait()
        opened.append(where.open())

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    opened[0].add(new())
    for one in opened:
        assert len(one.grants()) == 1
        one.close()


def test_there_are_not_too_many(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_GRANTS", 2)
    tokens = where.open()
    kept = new()
    tokens.add(kept)
    tokens.add(new())
    tokens.add(kept)
    with pytest.raises(LimitError, match="revoke those"):
        tokens.add(new())
    tokens.close()


def test_tokens_move_with_their_counts_and_moving_twice_changes_nothing(
    where: Where, tmp_path: Path
) -> None:
    old, tokens = AccessStore(tmp_path / "old"), where.open()
    entry = added(old, new("first", images=100))
    old.counts.set_aside(entry, "mnist", 10, 60)
    old.add(new("second"))
    assert tokens.copy_from(old) == (2, 0)
    assert tokens.grants() == old.grants()
    assert tokens.usages() == old.usages() != {}
    (moved, _) = tokens.entries()
    tokens.counts.set_aside(moved, "mnist", 1, 1)
    counted = tokens.usages()
    assert tokens.copy_from(old) == (0, 2)
    assert tokens.usages() == counted
    # All or none.
    third = new("third")
    old.add(third)
    assert tokens.remove(entry.grant.id)
    tokens.add(entry.grant.model_copy(update={"name": "changed"}))
    with pytest.raises(ConflictError):
        tokens.copy_from(old)
    assert third not in tokens.grants()
    old.close()
    tokens.close()


def test_roles_include_each_other() -> None:
    for index, role in enumerate(grant.ROLES):
        _, granted = make_grant("x", role, 1)
        assert [granted.allows(other) for other in grant.ROLES] == [
            index >= other for other in range(3)
        ]

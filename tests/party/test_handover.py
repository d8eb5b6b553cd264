"""What a replica checks of a model that is handed over to it; one thing wrong at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from libmpc.deployment_local import make_all
from libmpc.errors import ConfigError, LibmpcError
from libmpc.identity.signing import SigningKey
from libmpc.identity.storage_keys import StorageKey, StorageKeys
from libmpc.party.handover import Handed, ModelInForce
from libmpc.wire.manifest import Manifest
from tests.party.storage import Organisation, Push
from tests.party.store_operations import first, hand_over, second
from tests.party.triple import PORTS

Parts = tuple[ModelInForce, Handed]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    make_all(directory, PORTS)
    return directory


@pytest.fixture
def party(made: Path, tmp_path: Path) -> Organisation:
    return Organisation.load(made, tmp_path / "replica")


def flip(data: bytes, place: int = -1) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def header(parts: Parts, **fields: object) -> Parts:
    wanted, handed = parts
    return wanted, replace(handed, header=handed.header.model_copy(update=fields))


def commanded(parts: Parts, command: object) -> Parts:
    return parts[0].model_copy(update={"command": command}), parts[1]


def check(party: Organisation, parts: Parts) -> None:
    store, catalog = party.open()
    try:
        catalog.adopt(*catalog.check_handed(*parts))
    finally:
        store.close()


def test_as_it_was_handed_over(party: Organisation) -> None:
    check(party, hand_over(party, first(party)))
    records, tombstones, _ = party.state()  # type: ignore[misc]
    assert [(r.name, r.serving, r.num_requests) for r in records] == [("mnist", True, 10)]
    assert tombstones == {}


def test_a_replica_in_its_owner_s_state_from_the_first_moment(party: Organisation) -> None:
    push = first(party)
    for action, limit, state in (
        ("stop", None, (False, 10)),
        ("serve", 3, (True, 3)),
        ("serve", None, (True, None)),
    ):
        other = party.copy(action + str(limit))
        other.directory.mkdir()
        command = party.command(push, action, 5, limit)
        check(other, commanded(hand_over(other, push), command))
        (record,), *_ = other.state()  # type: ignore[misc]
        assert (record.serving, record.num_requests) == state
        assert (record.command, record.served) == (command.encode(), 0)


def _other_owner(party: Organisation, parts: Parts) -> Parts:
    signed = SigningKey.generate().sign(Manifest.LABEL, parts[1].manifest)
    return header(parts, signature=signed.signature)


def _forged_command(party: Organisation, parts: Parts) -> Parts:
    thief = replace(party, owner=SigningKey.generate())
    return commanded(parts, thief.command(first(party), "serve", 1))


def _of_party_1(party: Organisation) -> bytearray:
    other = replace(party, index=1)
    return hand_over(other, first(other))[1].file


WRONG: dict[str, Callable[[Organisation, Parts], Parts]] = {
    "another model": lambda p, parts: (hand_over(p, second_alone(p))[0], parts[1]),
    "manifest": lambda _, parts: (parts[0], replace(parts[1], manifest=flip(parts[1].manifest))),
    "owner": _other_owner,
    "voucher": lambda _, parts: header(parts, voucher=flip(bytes(32)).hex()),
    "no voucher of another model": lambda p, parts: header(
        parts, voucher=hand_over(p, second_alone(p))[1].header.voucher
    ),
    "certificate": lambda p, parts: header(
        parts, certificate=hand_over(p, second_alone(p))[1].header.certificate
    ),
    "key record": lambda _, parts: header(parts, key_record=flip(parts[1].header.key_record)),
    "key record of another model": lambda p, parts: header(
        parts, key_record=hand_over(p, second_alone(p))[1].header.key_record
    ),
    "share": lambda _, parts: (parts[0], replace(parts[1], file=bytearray(flip(parts[1].file)))),
    "share cut off": lambda _, parts: (parts[0], replace(parts[1], file=parts[1].file[:-1])),
    "no share": lambda _, parts: (parts[0], replace(parts[1], file=bytearray())),
    "share of another party": lambda p, parts: (
        parts[0],
        replace(parts[1], file=_of_party_1(p)),
    ),
    "command of somebody else": _forged_command,
    "command for another model": lambda p, parts: commanded(
        parts, p.command(second_alone(p), "serve", 1)
    ),
    "a deletion": lambda p, parts: commanded(parts, p.command(first(p), "delete", 1)),
}


def second_alone(party: Organisation) -> Push:
    return party.push("another", 3)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_as_the_owner_signed_it_is_refused(party: Organisation, wrong: str) -> None:
    party.data.mkdir(parents=True)
    parts = WRONG[wrong](party, hand_over(party, first(party)))
    with pytest.raises(LibmpcError):
        check(party, parts)
    assert party.state() == ([], {}, {})


def test_without_the_storage_key_nothing_can_be_made_of_it(party: Organisation) -> None:
    """Neither read by whoever has the handshake key, nor offered by him."""
    keys = StorageKeys([StorageKey(b"o" * 32)])
    thief = replace(party, keys=keys, directory=party.directory.parent / "thief")
    with pytest.raises(ConfigError, match="storage key"):
        check(thief, hand_over(party, first(party)))
    with pytest.raises(ConfigError, match="storage key"):
        check(party, hand_over(thief, first(thief)))
    assert thief.state() == party.state() == ([], {}, {})


def test_a_new_storage_key_can_be_given_to_the_replica_first(party: Organisation) -> None:
    both = StorageKeys([StorageKey(b"n" * 32), *party.keys])
    check(replace(party, keys=both), hand_over(party, first(party)))
    (record,), *_ = replace(party, keys=both).state()  # type: ignore[misc]
    assert record.name == "mnist"


def test_second_is_taken_in_place_of_first(party: Organisation) -> None:
    check(party, hand_over(party, first(party)))
    check(party, hand_over(party, first(party), second(party)))
    (record,), tombstones, _ = party.state()  # type: ignore[misc]
    assert (record.model, tombstones) == (second(party).model, {first(party).model: b""})

"""``libmpc storage-key``: a party's keys for stored shares, rotated while nothing is lost."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from libmpc.party.store import Store
from libmpc.party.vault import Vault
from services.party.settings import PartySettings
from tests.cli.run import Cli
from tests.party.storage import Organisation
from tests.party.store_operations import stored
from tests.party.triple import PORTS


@pytest.fixture
def config(cli: Cli, tmp_path: Path) -> Path:
    from libmpc.deployment_local import make_all

    make_all(tmp_path, PORTS)
    party = Organisation.load(tmp_path, tmp_path / "party0")
    party.keys = PartySettings.from_file(tmp_path / "party0" / "party.yaml").load_storage_keys()
    stored(party)
    return tmp_path / "party0" / "party.yaml"


def _start(config: Path) -> None:
    """What a party does with its data when it starts."""
    settings = PartySettings.from_file(config)
    store = Store(settings.data, Vault(0, settings.load_storage_keys()))
    (record,) = store.records()
    assert store.share(record)
    store.close()


def test_rotation(cli: Cli, config: Path) -> None:
    before = cli("storage-key", "--config", config, "--json").json()
    path = Path(before["file"])
    assert [(k["encrypts"], k["used"]) for k in before["keys"]] == [(True, True)]
    new = cli("storage-key", "--new", "--config", config, "--json").json()["keys"]
    assert [(k["encrypts"], k["used"]) for k in new] == [(True, False), (False, True)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    error = cli("storage-key", "--drop-old", "--config", config).error()
    assert before["keys"][0]["id"] in error
    assert "restart the party" in error
    _start(config)
    after = cli("storage-key", "--drop-old", "--config", config, "--json").json()["keys"]
    assert after == [{"id": new[0]["id"], "encrypts": True, "used": True}]
    assert len(PartySettings.from_file(config).load_storage_keys().first.secret) == 32
    _start(config)


def test_no_key_is_ever_shown(cli: Cli, config: Path) -> None:
    path = config.parent / "keys" / "storage.key"
    secrets = [line[:64] for line in path.read_text().splitlines() if line[0] != "#"]
    shown = cli("storage-key", "--config", config)
    assert secrets
    assert not any(secret in shown.out + shown.err for secret in secrets)
    keys = PartySettings.from_file(config).load_storage_keys()
    assert not any(secret in f"{keys!r} {keys.first!r} {Vault(0, keys)!r}" for secret in secrets)


def test_a_lost_key_file_is_not_replaced(cli: Cli, config: Path) -> None:
    (config.parent / "keys" / "storage.key").unlink()
    assert "bring it back" in cli("storage-key", "--new", "--config", config).error()
    assert "storage-key --new" in cli("storage-key", "--config", config).error()


def test_an_older_party_gets_its_first_key(cli: Cli, config: Path) -> None:
    (config.parent / "keys" / "storage.key").unlink()
    for path in (config.parent / "data").rglob("*"):
        if path.is_file():
            path.unlink()
    (key,) = cli("storage-key", "--new", "--config", config, "--json").json()["keys"]
    assert key["encrypts"]


def test_keys_in_the_environment_win_and_may_not_be_in_the_settings_file(
    cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBMPC_PARTY_STORAGE_KEYS", "ab" * 32 + "," + "cd" * 32)
    keys = PartySettings.from_file(config).load_storage_keys()
    assert [key.secret[0] for key in keys] == [0xAB, 0xCD]
    monkeypatch.setenv("LIBMPC_PARTY_STORAGE_KEYS", "secret stuff")
    with pytest.raises(Exception, match="64 lower-case") as caught:
        PartySettings.from_file(config).load_storage_keys()
    assert "stuff" not in str(caught.value)
    monkeypatch.delenv("LIBMPC_PARTY_STORAGE_KEYS")
    config.write_text(config.read_text() + f"storage_keys: {'ab' * 32}\n")
    with pytest.raises(Exception, match="for the environment only"):
        PartySettings.from_file(config)


def test_one_of_two(cli: Cli, config: Path) -> None:
    assert "in between" in cli("storage-key", "--new", "--drop-old", "--config", config).error(2)

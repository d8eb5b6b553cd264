from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from libmpc.errors import ConfigError
from libmpc.identity.files import (
    new_directory,
    read_private,
    read_public,
    write_private,
    write_public,
)
from libmpc.identity.keys import GatewayIdentity, PartyIdentity, to_pem


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_private(tmp_path / "private", b"x")
        with new_directory(tmp_path / "keys"):
            pass
    finally:
        os.umask(before)
    assert mode(tmp_path / "private") == 0o600
    assert mode(tmp_path / "keys") == 0o700
    assert read_private(tmp_path / "private", "a key") == b"x"


def test_private_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(os.fstat(fd).st_mode))
    write_private(tmp_path / "private", b"x")
    assert [stat.S_IMODE(m) for m in seen if stat.S_ISREG(m)] == [0o600]


@pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o660, 0o610, 0o644])
def test_open_to_others(tmp_path: Path, open_mode: int) -> None:
    path = tmp_path / "private"
    write_private(path, b"x")
    path.chmod(open_mode)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        read_private(path, "a key")
    assert str(path) in str(caught.value)
    assert read_public(path, "a key") == b"x"


def test_mounted_secret_of_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "private"
    write_private(path, b"x")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    path.chmod(0o640)
    assert read_private(path, "a key") == b"x"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        read_private(path, "a key")


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_public(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            write_public(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_public(path, b"new")
    assert path.read_bytes() == b"new"


def test_reading_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(bytes((1 << 20) + 1))
    for name, message in (
        ("missing", "there is no .*missing"),
        ("pipe", "no regular file"),
        (".", "cannot read|no regular file"),
        ("big", "more than"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_public(tmp_path / name, "something")


def test_new_directory_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(RuntimeError), new_directory(path) as unfinished:
        (unfinished / "a").write_text("x")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with new_directory(path) as unfinished:
        (unfinished / "a").write_text("x")
        assert not path.exists()
    assert os.listdir(tmp_path) == ["keys"]
    with pytest.raises(ConfigError, match="not overwritten"), new_directory(path):
        pass
    assert (path / "a").read_text() == "x"


def test_somebody_else_was_faster(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(ConfigError, match="not overwritten"), new_directory(path):
        path.mkdir()
        (path / "theirs").write_text("x")
    assert os.listdir(path) == ["theirs"]
    assert os.listdir(tmp_path) == ["keys"]


def test_identities(tmp_path: Path) -> None:
    party, gateway = PartyIdentity.generate(), GatewayIdentity.generate()
    party.save(tmp_path)
    loaded = PartyIdentity.load(tmp_path)
    assert loaded.static_public == party.static_public
    assert loaded.signing.public == party.signing.public
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    (tmp_path / "gateway").mkdir()
    gateway.save(tmp_path / "gateway")
    assert GatewayIdentity.load(tmp_path / "gateway").static_public == gateway.static_public
    secrets = (party.static.private_bytes_raw(), party.signing.private.private_bytes_raw())
    for text in (repr(party), str(party), repr(gateway), repr(party.signing)):
        assert all(secret.hex() not in text for secret in secrets)


def test_wrong_keys(tmp_path: Path) -> None:
    party = PartyIdentity.generate()
    party.save(tmp_path)
    write_private(tmp_path / "static.key", to_pem(party.signing.private))
    with pytest.raises(ConfigError, match=r"static\.key is no X25519 key"):
        PartyIdentity.load(tmp_path)
    write_private(tmp_path / "signing.key", to_pem(party.static))
    with pytest.raises(ConfigError, match=r"signing\.key is no Ed25519 key"):
        PartyIdentity.load(tmp_path)
    write_private(tmp_path / "signing.key", b"not a key: sekret")
    with pytest.raises(ConfigError, match="no private key in PEM") as caught:
        PartyIdentity.load(tmp_path)
    assert "sekret" not in str(caught.value)
    (tmp_path / "signing.key").unlink()
    with pytest.raises(ConfigError, match="libmpc init"):
        PartyIdentity.load(tmp_path)

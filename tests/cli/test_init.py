"""``libmpc init``: one party, three joined, everything for a demo, and the fingerprint."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from libmpc.deployment import Deployment
from libmpc.identity.yamlfile import read_mapping
from tests.cli.run import Cli

GATEWAY = "https://mpc.example.org:8443"


def _party(cli: Cli, tmp_path: Path, index: int) -> Path:
    url = f"https://party{index}.example.org:8443"
    result = cli("init", "--index", index, "--url", url, "--dir", tmp_path / f"p{index}", "--json")
    return Path(result.json()["public"])


@pytest.fixture
def public(cli: Cli, tmp_path: Path) -> list[Path]:
    return [_party(cli, tmp_path, index) for index in range(3)]


def test_a_party(cli: Cli, tmp_path: Path) -> None:
    directory = tmp_path / "p1"
    arguments = ("--url", "https://p1.example.org:8443", "--dir", directory, "--health-port", 9000)
    result = cli("init", "--index", 1, *arguments)
    assert result.code == 0
    assert f"libmpc party --index 1 --config {directory / 'party.yaml'}" in result.out
    assert "party1.public.yaml" in result.out
    assert read_mapping(directory / "party.yaml", "settings")["health_port"] == 9000
    secrets = [path for path in (directory / "keys").iterdir() if path.suffix == ".key"]
    assert secrets
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)
    public = (directory / "party1.public.yaml").read_text()
    assert "PRIVATE" not in public


def test_keys_are_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    arguments = ("init", "--index", 0, "--url", "https://p0.example.org", "--dir", tmp_path / "p0")
    assert cli(*arguments).code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "p0" / "keys").iterdir()}
    assert "not overwritten" in cli(*arguments).error()
    assert {p: p.read_bytes() for p in (tmp_path / "p0" / "keys").iterdir()} == before


def test_join(cli: Cli, tmp_path: Path, public: list[Path]) -> None:
    directory = tmp_path / "joined"
    arguments = ("--gateway-url", GATEWAY, "--dir", directory, "--name", "hospitals")
    result = cli("init", "--join", *reversed(public), *arguments)
    assert result.code == 0
    deployment = Deployment.from_file(directory / "deployment.yaml")
    assert deployment.name == "hospitals"
    assert deployment.fingerprint in result.out
    for index in range(3):
        assert f"https://party{index}.example.org:8443" in result.out
        assert f"libmpc party --index {index}" in result.out
    assert "libmpc gateway --config" in result.out
    assert str(directory / "client") in result.out
    shown = cli("init", "--fingerprint", directory / "deployment.yaml")
    assert shown.out.strip() == deployment.fingerprint


def test_join_as_json(cli: Cli, tmp_path: Path, public: list[Path]) -> None:
    arguments = ("--gateway-url", GATEWAY, "--dir", tmp_path / "joined", "--json")
    document = cli("init", "--join", *public, *arguments).json()
    deployment = Deployment.from_file(document["deployment"])
    assert document["fingerprint"] == deployment.fingerprint
    assert document["id"] == deployment.id.hex()


def test_the_same_party_twice(cli: Cli, tmp_path: Path, public: list[Path]) -> None:
    files = (public[0], public[0], public[2])
    arguments = ("--gateway-url", GATEWAY, "--dir", tmp_path / "joined")
    assert "party 0, party 1 and party 2" in cli("init", "--join", *files, *arguments).error()


def test_everything_for_a_demo(cli: Cli, tmp_path: Path) -> None:
    result = cli("init", "--all", "--dir", tmp_path / "run", "--json")
    assert "trying out only" in result.err
    deployment = Deployment.from_file(json.loads(result.out)["deployment"])
    assert deployment.fingerprint == json.loads(result.out)["fingerprint"]
    ports = {p.url.rpartition(":")[2] for p in (*deployment.parties, *deployment.gateways)}
    assert len(ports) == 4
    again = cli("init", "--all", "--dir", tmp_path / "run")
    assert again.code == 1
    assert "not overwritten" in again.err


@pytest.mark.parametrize("url", ["party0", "ftp://x", "https://", "https://a/b", "https://u@h"])
def test_urls_that_are_none(cli: Cli, tmp_path: Path, url: str) -> None:
    message = cli("init", "--index", 0, "--url", url, "--dir", tmp_path / "p").error()
    assert "URL" in message
    assert not (tmp_path / "p" / "keys").exists()

"""``libmpc init``: one party, three joined, everything for a demo, and the fingerprint."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
import yaml

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


def test_manifests_of_a_party(cli: Cli, tmp_path: Path) -> None:
    directory = tmp_path / "p1"
    url = "https://p1-{triple}.example.org:443"
    made = cli(
        *("init", "--index", 1, "--url", url, "--triples", 2),
        *("--dir", directory, "--kubernetes", "--json"),
    )
    assert made.json()["index"] == 1
    folder = directory / "kubernetes"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret, config = folder / "party1.secret.yaml", folder / "party1.config.yaml"
    assert str(secret) in made.err
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert "libmpc-deployment" not in config.read_text()
    # Whoever has the deployment file writes them again.
    for index in (0, 2):
        other = f"https://p{index}-{{triple}}.example.org"
        where = ("--dir", tmp_path / f"p{index}", "--triples", 2)
        assert cli("init", "--index", index, "--url", other, *where).code == 0
    public = [tmp_path / f"p{index}" / f"party{index}.public.yaml" for index in range(3)]
    joined = ("--gateway-url", GATEWAY, "--dir", tmp_path / "joined", "--kubernetes")
    assert cli("init", "--join", *public, *joined).code == 0
    (directory / "deployment.yaml").write_bytes((tmp_path / "joined/deployment.yaml").read_bytes())
    before = secret.read_bytes()
    again = cli("init", "--kubernetes", "--dir", directory, "--json").json()
    assert again == {"files": [str(secret), str(config)]}
    assert secret.read_bytes() == before
    documents = {d["metadata"]["name"]: d for d in yaml.safe_load_all(config.read_text())}
    deployment = documents["libmpc-deployment"]["data"]["deployment.yaml"]
    assert deployment == (directory / "deployment.yaml").read_text()
    names = {path.name for path in (tmp_path / "joined" / "kubernetes").iterdir()}
    assert names == {"gateway.secret.yaml", "gateway.config.yaml"}


def test_secrets_have_the_services_keys_and_no_others(cli: Cli, tmp_path: Path) -> None:
    assert cli("init", "--all", "--kubernetes", "--dir", tmp_path / "run").code == 0
    secrets = {}
    for path in sorted((tmp_path / "run" / "kubernetes").glob("*.secret.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            place = one["metadata"]["namespace"], one["metadata"]["name"]
            secrets[place] = {k: base64.b64decode(v) for k, v in one["data"].items()}
    keys = {"static.key", "signing.key", "storage.key"}
    tls = {"tls.key", "tls.crt", "ca.crt"}
    expected = {("libmpc-gateway", "gateway-tokens"): {"tokens.sqlite"}}
    for index in range(3):
        expected[f"libmpc-party{index}", "party-keys"] = keys
        expected[f"libmpc-party{index}", "party-tls"] = tls
    expected["libmpc-gateway", "gateway-keys"] = {"static.key"}
    expected["libmpc-gateway", "gateway-tls"] = tls
    expected["libmpc-gateway", "gateway-settings"] = {"gateway.yaml"}
    assert {place: set(data) for place, data in secrets.items()} == expected
    for index in range(3):
        for name, content in secrets[f"libmpc-party{index}", "party-keys"].items():
            assert content == (tmp_path / "run" / f"party{index}" / "keys" / name).read_bytes()
    # Neither an authority's key nor the owner's is in any of them.
    everything = b"".join(content for data in secrets.values() for content in data.values())
    for path in (tmp_path / "run").glob("*/keys/ca.key"):
        assert path.read_bytes() not in everything
    owner = read_mapping(tmp_path / "run" / "credentials.yaml", "the owner's")["owner_key"]
    assert owner.encode() not in everything


def test_settings_in_the_manifests(cli: Cli, tmp_path: Path) -> None:
    """What an operator has set stays; what the pod decides does not."""
    home = tmp_path / "p0"
    url = "https://p0.example.org"
    assert cli("init", "--index", 0, "--url", url, "--dir", home).code == 0
    with (home / "party.yaml").open("a") as file:
        file.write("audit: 0.01\nstorage_key_file: elsewhere.key\n")
    (home / "keys" / "storage.key").rename(home / "elsewhere.key")
    assert cli("init", "--kubernetes", "--dir", home).code == 0
    (config,) = yaml.safe_load_all((home / "kubernetes" / "party0.config.yaml").read_text())
    assert yaml.safe_load(config["data"]["party.yaml"]) == {
        "index": 0,
        "host": "0.0.0.0",
        "port": 8443,
        "health_host": "127.0.0.1",
        "health_port": 8081,
        "audit": 0.01,
    }
    secret = next(yaml.safe_load_all((home / "kubernetes" / "party0.secret.yaml").read_text()))
    key = base64.b64decode(secret["data"]["storage.key"])
    assert key == (home / "elsewhere.key").read_bytes()


def test_manifests_of_nothing(cli: Cli, tmp_path: Path) -> None:
    message = cli("init", "--kubernetes", "--dir", tmp_path).error()
    assert "party.yaml" in message
    assert list(tmp_path.iterdir()) == []


def test_triples_of_nothing(cli: Cli, tmp_path: Path) -> None:
    result = cli("init", "--all", "--triples", 2, "--dir", tmp_path / "run")
    assert result.code == 2
    assert "--kubernetes" in result.err

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from libmpc.access import AccessStore
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_init import join, make_party
from libmpc.deployment_local import LocalPorts, is_made, make_all, move_all, publish_all
from libmpc.errors import ConfigError
from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.identity.tls import bundle
from libmpc.identity.token import is_token, token_id
from services.party.settings import PartySettings

PORTS = LocalPorts((9001, 9002, 9003), (9011, 9012, 9013), 9000)


def settings(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())  # type: ignore[no-any-return]


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*.*") if p.is_file()
    }


def check_modes(directory: Path) -> None:
    for path in directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name in ("keys", "data"):
            assert mode == 0o700
        elif path.suffix in (".key", ".sqlite") or path.name == "credentials.yaml":
            assert mode == 0o600


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [
        make_party(index, f"https://p{index}.example.org:8443", tmp_path / f"org{index}")
        for index in range(3)
    ]


def test_three_organisations(tmp_path: Path, three: list[Path]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    deployment = join(three[::-1], "https://gateway.example.org", home, "mnist-net")
    assert Deployment.from_file(home / "deployment.yaml") == deployment
    assert len(bundle(deployment.tls_ca)) == 4
    for index, public in enumerate(three):
        identity = PartyIdentity.load(public.parent / "keys")
        deployment.check_party(index, identity.static_public, identity.signing.public)
        assert settings(public.parent / "party.yaml") == {
            "index": index,
            "deployment": "deployment.yaml",
            "keys": "keys",
            "data": "data",
            "host": "0.0.0.0",
            "port": 8443,
            "health_host": "127.0.0.1",
            "health_port": 8081,
        }
        private = [p.read_text() for p in (public.parent / "keys").glob("*.key")]
        assert len(private) == 5
        assert all(key.splitlines()[1] not in public.read_text() for key in private)
    gateway = GatewayIdentity.load(home / "gateway" / "keys")
    deployment.check_gateway(gateway.static_public)
    credential = Credential.beside(home / "deployment.yaml", deployment)
    assert credential is not None
    assert credential.token is not None
    token = credential.token.get_secret_value()
    config = settings(home / "gateway" / "gateway.yaml")
    assert config.keys() == {"deployment", "keys", "data", "host", "port"}
    check_modes(tmp_path)
    # What a client gets works alone, and has nothing of the owner's.
    client = Credential.beside(home / "client" / "deployment.yaml", deployment)
    assert client is not None
    assert client.token is not None
    assert client.owner_key is None
    assert "owner_key" not in (home / "client" / "credentials.yaml").read_text()
    assert Deployment.from_file(home / "client" / "deployment.yaml") == deployment
    second = client.token.get_secret_value()
    everything = snapshot(home)
    for secret, place in ((token, "credentials.yaml"), (second, "client/credentials.yaml")):
        assert [name for name, data in everything.items() if secret.encode() in data] == [place]
    store = AccessStore(home / "gateway" / "data")
    grants = {grant.id: grant for grant in store.grants()}
    store.close()
    assert {token_id(token), token_id(second)} == grants.keys()
    for secret, role in ((token, "admin"), (second, "client")):
        grant = grants[token_id(secret) or ""]
        assert is_token(secret, grant.sha256)
        assert (grant.role, grant.models, grant.expires_ms) == (role, None, None)


def test_several_triples(tmp_path: Path) -> None:
    files = [
        make_party(
            index, f"https://p{index}-{{triple}}.x.example", tmp_path / f"{index}", triples=3
        )
        for index in range(3)
    ]
    deployment = join(files, "https://gateway.example.org", tmp_path / "home", "x")
    assert deployment.triples == 3
    for index, party in enumerate(deployment.parties):
        hosts = [f"p{index}-{triple}.x.example" for triple in range(3)]
        assert party.urls == tuple(f"https://{host}" for host in hosts)
        pem = (tmp_path / f"{index}" / "keys" / "tls.crt").read_bytes()
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert names.value.get_values_for_type(x509.DNSName) == hosts
    # A build from before there were triples reads the file of a party that has one.
    one = make_party(0, "https://p0.example.org", tmp_path / "one")
    assert "more_urls" not in settings(one)


def test_triples_need_addresses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"put \{triple\} into the URL"):
        make_party(0, "https://p0.example.org", tmp_path / "p0", triples=2)
    for number in (0, 65):
        with pytest.raises(ConfigError, match="1 to 64 triples"):
            make_party(0, "https://p0-{triple}.example.org", tmp_path / "p0", triples=number)
    assert not (tmp_path / "p0").exists()


def test_all_parties_have_as_many_triples(tmp_path: Path) -> None:
    files = [
        make_party(
            index,
            f"https://p{index}-{{triple}}.x.example",
            tmp_path / f"{index}",
            triples=1 + (index == 2),
        )
        for index in range(3)
    ]
    with pytest.raises(ConfigError, match="every triple needs one process of each party"):
        join(files, "https://gateway.example.org", tmp_path / "home", "x")


def test_party_again(three: list[Path]) -> None:
    directory = three[1].parent
    before = snapshot(directory)
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        make_party(1, "https://p1.example.org", directory)
    assert snapshot(directory) == before


def test_join_again(tmp_path: Path, three: list[Path]) -> None:
    join(three, "https://gateway.example.org", tmp_path / "home", "x")
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        join(three, "https://gateway.example.org", tmp_path / "home", "x")
    assert snapshot(tmp_path) == before


def test_join_refuses(tmp_path: Path, three: list[Path]) -> None:
    home = tmp_path / "home"
    gateway = "https://gateway.example.org"
    with pytest.raises(ConfigError, match="each once"):
        join(three[:2], gateway, home, "x")
    with pytest.raises(ConfigError, match="each once"):
        join([three[0], three[1], three[1]], gateway, home, "x")
    with pytest.raises(ConfigError, match="there is no"):
        join([*three[:2], tmp_path / "missing"], gateway, home, "x")
    with pytest.raises(ConfigError, match="name"):
        join(three, gateway, home, "No Name")
    with pytest.raises(ConfigError, match="gateway"):
        join(three, "gateway", home, "x")
    same = tmp_path / "same.yaml"
    same.write_text(three[0].read_text().replace("index: 0", "index: 1"))
    with pytest.raises(ConfigError, match="different organisations"):
        join([three[0], same, three[2]], gateway, home, "x")
    with pytest.raises(ConfigError, match="URLs are equal"):
        join(three, "https://p2.example.org:8443", home, "x")
    assert not (home / "gateway" / "keys").exists()
    join(three, gateway, home, "x")


@pytest.mark.parametrize(
    ("index", "url"),
    [(3, "https://a.org"), (-1, "https://a.org"), (0, "a.org"), (0, "https://a b")],
)
def test_party_refuses(tmp_path: Path, index: int, url: str) -> None:
    with pytest.raises(ConfigError):
        make_party(index, url, tmp_path / "party")
    assert not (tmp_path / "party" / "keys").exists()


def test_demo(tmp_path: Path) -> None:
    assert not is_made(tmp_path)
    deployment = make_all(tmp_path, PORTS, publish=False)
    assert is_made(tmp_path)
    assert not (tmp_path / "deployment.yaml").exists()
    assert not (tmp_path / "client" / "deployment.yaml").exists()
    assert publish_all(tmp_path) == tmp_path / "deployment.yaml"
    assert Deployment.from_file(tmp_path / "deployment.yaml") == deployment
    for name in ("party0", "party1", "party2", "gateway"):
        own = tmp_path / name / "deployment.yaml"
        assert Deployment.from_file(own) == deployment
        assert own.read_text().startswith("# FOR TRYING OUT ONLY")
    check_modes(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match="not overwritten"):
        make_all(tmp_path, PORTS)
    assert snapshot(tmp_path) == before


def test_demo_moves(tmp_path: Path) -> None:
    first = make_all(tmp_path, PORTS)
    before = snapshot(tmp_path)
    moved = move_all(tmp_path, LocalPorts((1, 2, 3), (4, 5, 6), 7))
    after = snapshot(tmp_path)
    assert (moved.id, moved.fingerprint) == (first.id, first.fingerprint)
    assert [p.url for p in moved.parties] == [f"https://127.0.0.1:{port}" for port in (1, 2, 3)]
    assert Deployment.from_file(tmp_path / "deployment.yaml") == moved
    party = settings(tmp_path / "party2" / "party.yaml")
    assert (party["index"], party["port"], party["health_port"]) == (2, 3, 6)
    gateway = settings(tmp_path / "gateway" / "gateway.yaml")
    assert gateway["port"] == 7
    kept = (".key", ".crt", ".sqlite", "credentials.yaml", "public.yaml")
    same = {n for n in before if n.endswith(kept)}
    assert {name for name in before if before[name] == after[name]} == same
    for folder in (tmp_path, tmp_path / "client"):
        assert Deployment.from_file(folder / "deployment.yaml") == moved
        assert Credential.beside(folder / "deployment.yaml", moved) is not None
    move_all(tmp_path, PORTS)
    assert snapshot(tmp_path) == before


def test_demo_with_more_triples_and_fewer(tmp_path: Path) -> None:
    first = make_all(tmp_path, PORTS)
    before = snapshot(tmp_path)
    more = ((1, 2, 3), (4, 5, 6)), ((11, 12, 13), (14, 15, 16))
    grown = move_all(tmp_path, replace(PORTS, more=more))
    assert grown.triples == 3
    assert (grown.id, grown.fingerprint) == (first.id, first.fingerprint)
    assert grown.parties[1].urls == tuple(f"https://127.0.0.1:{n}" for n in (9002, 2, 12))
    for index in range(3):
        home = tmp_path / f"party{index}-2"
        party = settings(home / "party.yaml")
        assert (party["index"], party["triple"]) == (index, 2)
        assert (party["port"], party["health_port"]) == (11 + index, 14 + index)
        # An organisation has the same keys everywhere.
        assert (home / party["keys"]).resolve() == (tmp_path / f"party{index}" / "keys").resolve()
        assert Deployment.from_file(home / "deployment.yaml") == grown
        assert PartySettings.from_file(home / "party.yaml").data == home / "data"
    check_modes(tmp_path)
    assert move_all(tmp_path, PORTS) == first
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    assert move_all(tmp_path, replace(PORTS, more=more)) == grown


def test_demo_for_ipv6(tmp_path: Path) -> None:
    deployment = make_all(tmp_path, PORTS, host="::1")
    assert deployment.parties[0].url == "https://[::1]:9001"
    assert settings(tmp_path / "party0" / "party.yaml")["host"] == "::1"


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            make_party(0, "https://a.org", tmp_path / "party")
    assert os.listdir(tmp_path / "party") == []
    make_party(0, "https://a.org", tmp_path / "party")

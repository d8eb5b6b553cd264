from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretStr, ValidationError

from libmpc.credentials import Credential
from libmpc.deployment import FIELD_PRIME, Deployment, check_url
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.errors import ConfigError
from libmpc.identity.files import write_private
from libmpc.identity.signing import SigningKey
from libmpc.identity.yamlfile import dump

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "deployment.json").read_text())
Fields = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    make_all(directory, LocalPorts((9001, 9002, 9003), (9011, 9012, 9013), 9000))
    return directory


@pytest.fixture
def fields(made: Path) -> Fields:
    text = Deployment.from_file(made / "deployment.yaml").model_dump_json()
    return json.loads(text)  # type: ignore[no-any-return]


def load(tmp_path: Path, fields: Fields) -> Deployment:
    path = tmp_path / "deployment.yaml"
    path.write_bytes(dump(fields))
    return Deployment.from_file(path)


def test_id_vector(fields: Fields, tmp_path: Path) -> None:
    for entry, party in zip(fields["parties"], VECTOR["parties"], strict=True):
        entry["static_key"], entry["signing_key"] = party["static_key"], party["signing_key"]
        private = bytes.fromhex(party["static_private"])
        public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        assert public.hex() == party["static_key"]
    deployment = load(tmp_path, {**fields, "name": VECTOR["name"]})
    assert deployment.id.hex() == VECTOR["id"]


def test_file_round_trip(made: Path, tmp_path: Path) -> None:
    deployment = Deployment.from_file(made / "deployment.yaml")
    deployment.write(tmp_path / "copy.yaml", "a comment\nof two lines")
    assert Deployment.from_file(tmp_path / "copy.yaml") == deployment
    assert (tmp_path / "copy.yaml").read_text().startswith("# a comment\n# of two lines\n")
    assert "-----BEGIN CERTIFICATE-----\n" in (tmp_path / "copy.yaml").read_text()


def test_id_and_fingerprint(fields: Fields, tmp_path: Path) -> None:
    original = load(tmp_path, fields)
    assert len(original.id) == 16
    assert len(original.fingerprint) == 39
    # Addresses may change; neither value depends on them.
    moved = load(
        tmp_path,
        {
            **fields,
            "parties": [
                {**entry, "url": f"https://p{entry['index']}.example.org"}
                for entry in fields["parties"]
            ],
        },
    )
    assert (moved.id, moved.fingerprint) == (original.id, original.fingerprint)
    owner = SigningKey.generate().public.hex()
    owned = load(tmp_path, {**fields, "owners": [owner]})
    assert owned.id == original.id
    assert owned.fingerprint != original.fingerprint
    renamed = load(tmp_path, {**fields, "name": "other"})
    assert renamed.id != original.id
    other = {**fields["parties"][0], "signing_key": owner}
    changed = load(tmp_path, {**fields, "parties": [other, *fields["parties"][1:]]})
    assert changed.id != original.id


def party(index: int, name: str, value: Callable[[Fields], object]) -> Callable[[Fields], Fields]:
    def change(fields: Fields) -> Fields:
        parties = [dict(entry) for entry in fields["parties"]]
        parties[index][name] = value(fields)
        return {**fields, "parties": parties}

    return change


def static_key(value: int) -> Callable[[Fields], Fields]:
    return party(0, "static_key", lambda _: value.to_bytes(32, "little").hex())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (party(1, "static_key", lambda f: f["parties"][0]["static_key"]), "handshake keys are eq"),
        (party(2, "signing_key", lambda f: f["parties"][0]["signing_key"]), "signing keys are eq"),
        (party(1, "url", lambda f: f["parties"][0]["url"] + "/"), "URLs are equal"),
        (party(1, "static_key", lambda f: f["gateways"][0]["static_key"]), "handshake keys are"),
        (party(1, "index", lambda f: 0), "0, 1 and 2, in this order"),
        (party(1, "index", lambda f: 3), "index"),
        (party(1, "static_key", lambda f: "ab"), "64 lower-case hex"),
        (party(1, "static_key", lambda f: 7), "64 lower-case hex"),
        (party(1, "signing_key", lambda f: "AB" * 32), "64 lower-case hex"),
        (static_key(0), "not a usable"),
        (static_key(1), "not a usable"),
        (static_key(FIELD_PRIME), "usual spelling"),
        (static_key(9 + (1 << 255)), "usual spelling"),
        (party(1, "url", lambda f: "party1:8443"), "url"),
        (party(1, "more", lambda f: 1), "unknown field"),
        (lambda f: {**f, "parties": f["parties"][:2]}, "parties"),
        (lambda f: {**f, "parties": [*f["parties"], f["parties"][0]]}, "parties"),
        (lambda f: {**f, "gateways": []}, "gateways"),
        (lambda f: {**f, "owners": []}, "owners"),
        (lambda f: {**f, "owners": f["owners"] * 2}, "owner occurs twice"),
        (lambda f: {**f, "version": 2}, "version"),
        (lambda f: {**f, "name": "Upper"}, "a name has"),
        (lambda f: {**f, "tls_ca": "no"}, "PEM"),
        (lambda f: {**f, "tls_ca": ""}, "PEM"),
        (lambda f: {**f, "credentials": "../secret"}, "not a path"),
        (lambda f: {**f, "credentials": ".."}, "not a path"),
        (lambda f: {k: v for k, v in f.items() if k != "parties"}, "parties: Field required"),
    ],
)
def test_refused(
    fields: Fields, tmp_path: Path, change: Callable[[Fields], Fields], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, change(fields))
    assert "deployment.yaml (the deployment file)" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://a.org", "http://10.0.0.1:80", "https://[::1]:8443", "https://a.org:8443/"]
)
def test_urls(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.org",
        "ftp://a.org",
        "https://",
        "https://a.org/x",
        "https://a.org?x",
        "https://u@a.org",
        "https://a.org#x",
        "https://a.org:0",
        "https://a.org:99999",
        "https://a b",
        "https://a.org\n",
        "https://[::1",
        "https://é.org",
        "https://" + "a" * 300,
    ],
)
def test_urls_refused(url: str) -> None:
    with pytest.raises(ValueError):
        check_url(url)


def test_check_party_and_gateway(made: Path) -> None:
    deployment = Deployment.from_file(made / "deployment.yaml")
    one, two = deployment.parties[1], deployment.parties[2]
    deployment.check_party(1, one.static_key, one.signing_key)
    for index, static, signing in (
        (2, one.static_key, one.signing_key),
        (1, two.static_key, one.signing_key),
        (1, one.static_key, two.signing_key),
        (3, one.static_key, one.signing_key),
    ):
        with pytest.raises(ConfigError, match="other keys for party"):
            deployment.check_party(index, static, signing)
    deployment.check_gateway(deployment.gateways[0].static_key)
    with pytest.raises(ConfigError, match="no gateway"):
        deployment.check_gateway(one.static_key)


def test_no_placeholder_survives_validation(fields: Fields) -> None:
    with pytest.raises(ValidationError) as caught:
        Deployment.model_validate_json(json.dumps({**fields, "name": "SECRET value"}))
    assert "SECRET" not in str(caught.value)


# ---- triples


def with_triples(fields: Fields, *more: int) -> Fields:
    for party, count in zip(fields["parties"], more, strict=True):
        party["more_urls"] = [f"https://p{party['index']}-{n}.org" for n in range(1, count + 1)]
    return fields


def test_triples(fields: Fields, tmp_path: Path) -> None:
    one = load(tmp_path, fields)
    three = load(tmp_path, with_triples(fields, 2, 2, 2))
    assert (one.triples, three.triples) == (1, 3)
    assert three.parties[1].urls[0] == one.parties[1].url
    assert three.parties[1].urls[1:] == ("https://p1-1.org", "https://p1-2.org")
    # Clients pin keys, and nobody has to hear of addresses.
    assert (one.id, one.fingerprint) == (three.id, three.fingerprint)
    assert b"more_urls" not in one.to_yaml()


def test_every_triple_has_three_parties(fields: Fields, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every triple needs one process of each party"):
        load(tmp_path, with_triples(fields, 2, 1, 2))


def test_no_two_processes_at_one_address(fields: Fields, tmp_path: Path) -> None:
    with_triples(fields, 1, 1, 1)["parties"][0]["more_urls"] = ["https://P1-1.org/"]
    with pytest.raises(ConfigError, match="two URLs are equal"):
        load(tmp_path, fields)


# ---- credentials


def test_credentials(made: Path) -> None:
    path = made / "deployment.yaml"
    deployment = Deployment.from_file(path)
    credential = Credential.beside(path, deployment)
    assert credential is not None
    assert credential.signing_key is not None
    assert credential.token is not None
    assert (credential.signing_key.public.hex(),) == deployment.owners
    assert credential == Credential.from_file(made / "credentials.yaml", deployment)
    assert credential.owner_key is not None
    secrets = (credential.owner_key.get_secret_value(), credential.token.get_secret_value())
    shown = [
        repr(credential),
        str(credential),
        f"{credential}",
        str(credential.model_dump()),
        credential.model_dump_json(),
        repr(vars(credential)),
    ]
    assert all(secret not in text for secret in secrets for text in shown)


def test_no_credentials(made: Path, tmp_path: Path) -> None:
    deployment = Deployment.from_file(made / "deployment.yaml")
    assert Credential.beside(tmp_path / "deployment.yaml", deployment) is None
    nameless = deployment.model_copy(update={"credentials": None})
    assert Credential.beside(made / "deployment.yaml", nameless) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deployment": "00" * 16}, "for another deployment"),
        ({"owner_key": "11" * 32}, "the key of no owner"),
        ({"owner_key": "sekret" * 3}, "owner_key"),
        ({"owner_key": "sekretsekretsekr" * 4}, "not 64 hexadecimal"),
        ({"token": "sekret"}, "token"),
        ({"token": 5}, "token"),
        ({"sekret": 5}, "unknown field"),
        ({"version": 2}, "version"),
    ],
)
def test_credentials_refused(made: Path, tmp_path: Path, changes: Fields, message: str) -> None:
    deployment = Deployment.from_file(made / "deployment.yaml")
    path = tmp_path / "credentials.yaml"
    write_private(path, dump({"version": 1, "deployment": deployment.id.hex(), **changes}))
    with pytest.raises(ConfigError, match=message) as caught:
        Credential.from_file(path, deployment)
    assert "sekret" not in str(caught.value)


def test_credentials_open_to_others(made: Path, tmp_path: Path) -> None:
    deployment = Deployment.from_file(made / "deployment.yaml")
    credential = Credential(deployment=deployment.id.hex(), token=SecretStr("x" * 43))
    path = tmp_path / "credentials.yaml"
    credential.write(path)
    assert Credential.from_file(path, deployment) == credential
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Credential.from_file(path, deployment)

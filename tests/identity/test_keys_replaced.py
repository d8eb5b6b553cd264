"""The deployment file while a party's keys are replaced: what counts when, and what stays."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from cryptography import x509

from libmpc.deployment import Deployment, PartyKeys
from libmpc.deployment_init import PartyPublic
from libmpc.deployment_keys import add_keys, drop_keys, new_certificate, new_keys, use_keys
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.errors import ConfigError
from libmpc.identity.files import write_public
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.yamlfile import dump, read_model

PORTS = LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_all(tmp_path, PORTS)
    return tmp_path


def read(home: Path) -> Deployment:
    return Deployment.from_file(home / "deployment.yaml")


def identity(home: Path) -> PartyIdentity:
    return PartyIdentity.load(home / "party1" / "keys")


def fits(deployment: Deployment, keys: PartyIdentity) -> bool:
    try:
        deployment.check_party(1, keys.static_public, keys.signing.public)
    except ConfigError:
        return False
    return True


def test_both_count_in_between_and_the_id_stays(home: Path) -> None:
    before, old = read(home), identity(home)
    assert before.first_id is None
    public = new_keys(home / "party1")
    assert identity(home).static_public == old.static_public  # not in use yet
    both = add_keys(home / "deployment.yaml", public)
    assert read(home) == both
    new = use_keys(home / "party1")
    assert identity(home).signing.public == new.signing.public != old.signing.public
    after = drop_keys(home / "deployment.yaml", 1)

    assert before.id == both.id == after.id
    assert [fits(d, old) for d in (before, both, after)] == [True, True, False]
    assert [fits(d, new) for d in (before, both, after)] == [False, True, True]
    assert len({d.fingerprint for d in (before, both, after)}) == 3
    assert both.parties[1].static_keys == (old.static_public, new.static_public)
    assert after.parties[1].next_keys is None
    assert [p for p in after.parties if p.index != 1] == [before.parties[0], before.parties[2]]


def test_files_that_never_had_a_key_replaced_are_as_they_were(home: Path) -> None:
    text = (home / "deployment.yaml").read_text()
    assert "next_keys" not in text
    assert "first_id" not in text


def test_the_fingerprint_shows_every_key_that_counts(home: Path) -> None:
    """Once keys were replaced, the id stands for none of them."""
    add_keys(home / "deployment.yaml", new_keys(home / "party1"))
    deployment = read(home)
    seen = {deployment.fingerprint}
    other = PartyIdentity.generate()
    for index in range(3):
        entry = deployment.parties[index]
        for field, value in (
            ("static_key", other.static_public),
            ("signing_key", other.signing.public),
            (
                "next_keys",
                (PartyKeys(static_key=other.static_public, signing_key=other.signing.public),),
            ),
        ):
            changed = tuple(
                e.model_copy(update={field: value}) if e is entry else e for e in deployment.parties
            )
            seen.add(deployment.model_copy(update={"parties": changed}).fingerprint)
    assert len(seen) == 10


def test_a_party_stopped_between_the_two_keys_goes_on(home: Path) -> None:
    public = new_keys(home / "party1")
    both = add_keys(home / "deployment.yaml", public)
    keys = home / "party1" / "keys"
    (keys / "next" / "static.key").replace(keys / "static.key")  # and then the machine died
    assert fits(both, identity(home))
    use_keys(home / "party1")
    newest = both.parties[1].signing_keys[1]
    assert identity(home).signing.public == newest
    assert not (keys / "next").exists()
    for file in keys.rglob("*.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_keys_of_another_party_are_refused(home: Path) -> None:
    public = new_keys(home / "party1")
    theirs = read(home).parties[2]
    stolen = read_model(public, PartyPublic, "it").model_copy(
        update={"signing_key": theirs.signing_key}
    )
    write_public(public, dump(stolen.model_dump(mode="json")))
    before = (home / "deployment.yaml").read_bytes()
    with pytest.raises(ConfigError, match="signing keys are equal"):
        add_keys(home / "deployment.yaml", public)
    assert (home / "deployment.yaml").read_bytes() == before


def test_next_keys_without_the_first_id_are_refused(home: Path) -> None:
    add_keys(home / "deployment.yaml", new_keys(home / "party1"))
    path = home / "deployment.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("first_id")]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match="first_id"):
        read(home)


def test_what_there_is_not(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ConfigError, match="libmpc keys new"):
        use_keys(home / "party1")
    with pytest.raises(ConfigError, match="nothing to drop"):
        drop_keys(home / "deployment.yaml", 1)
    with pytest.raises(ConfigError, match="a party's directory"):
        new_keys(tmp_path_factory.mktemp("empty"))
    new_keys(home / "party1")
    with pytest.raises(ConfigError, match="not overwritten"):
        new_keys(home / "party1")


def test_a_certificate_gets_further_hosts(home: Path) -> None:
    path = home / "party1" / "keys" / "tls.crt"

    def hosts() -> set[str]:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names.get_values_for_type(x509.DNSName))

    before = hosts()
    new_certificate(home / "party1", ["party1-1.example.org"])
    assert hosts() == before | {"party1-1.example.org"}


def test_a_certificate_is_renewed_for_the_same_hosts(home: Path) -> None:
    path = home / "party1" / "keys" / "tls.crt"
    old = x509.load_pem_x509_certificate(path.read_bytes())
    new_certificate(home / "party1")
    new = x509.load_pem_x509_certificate(path.read_bytes())
    kind = x509.SubjectAlternativeName
    assert new.serial_number != old.serial_number
    assert new.issuer == old.issuer
    hosts = (c.extensions.get_extension_for_class(kind).value for c in (new, old))
    assert set(next(hosts)) == set(next(hosts))
    shutil.rmtree(home / "party1" / "keys")
    with pytest.raises(ConfigError):
        new_certificate(home / "party1")

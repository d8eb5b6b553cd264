"""Replacing a party's long-term keys while the deployment goes on.

1. The party makes new keys, beside those in use.
2. They are added to the deployment file: both count from when everybody has that file.
3. The party takes the new ones into use.
4. The old ones are dropped from the deployment file: they count no more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from pydantic import ValidationError

from libmpc.deployment import Deployment, PartyEntry, PartyKeys
from libmpc.deployment_init import PartyPublic
from libmpc.errors import ConfigError
from libmpc.identity.files import (
    new_directory,
    private_directory,
    read_private,
    read_public,
    write_private,
    write_public,
)
from libmpc.identity.keys import SIGNING_KEY, STATIC_KEY, PartyIdentity
from libmpc.identity.tls import TLS_CERTIFICATE, issue_leaf
from libmpc.identity.yamlfile import dump, read_model
from libmpc.wire.document import describe

NEXT, OLD = "next", "old"
COMMENT = "Public. Get it by a way that you trust."


def new_keys(directory: Path) -> Path:
    """Make a party's next keys in ``keys/next``; returns the public file to hand on.

    Args:
        directory: the party's, as ``make_party`` made it.

    Raises:
        ConfigError: it is no party's, or has next keys already.
    """
    found = sorted(directory.glob("party[012].public.yaml"))
    if len(found) != 1:
        raise ConfigError(f"{directory} has no partyN.public.yaml; is it a party's directory?")
    public = read_model(found[0], PartyPublic, "the party's public file")
    identity = PartyIdentity.generate()
    with new_directory(directory / "keys" / NEXT) as keys:
        identity.save(keys)
    fields = {
        "static_key": identity.static_public,
        "signing_key": identity.signing.public,
    }
    path = directory / f"party{public.index}.next.public.yaml"
    comment = f"Public: for 'libmpc keys add'. Party {public.index}'s next keys."
    fresh = public.model_copy(update=fields).model_dump(mode="json", exclude_none=True)
    write_public(path, dump(fresh, comment))
    return path


def add_keys(path: Path, public_file: Path) -> Deployment:
    """Let a party's next keys count as well, in a deployment file; its id stays.

    Raises:
        ConfigError: a file is not valid, or the keys are in the deployment already.
    """
    deployment = Deployment.from_file(path)
    public = read_model(public_file, PartyPublic, "a party's public file")
    added = PartyKeys(static_key=public.static_key, signing_key=public.signing_key)
    entry = deployment.parties[public.index]
    changed = {"next_keys": (*(entry.next_keys or ()), added)}
    return _write(path, deployment, entry, changed)


def use_keys(directory: Path) -> PartyIdentity:
    """Take a party's next keys into use; the old ones go to ``keys/old``.

    May be called again where it was interrupted.

    Raises:
        ConfigError: there are no next keys.
    """
    keys = directory / "keys"
    names = [name for name in (STATIC_KEY, SIGNING_KEY) if (keys / NEXT / name).exists()]
    if not names:
        raise ConfigError(f"{keys / NEXT} has no keys; make them with 'libmpc keys new'")
    private_directory(keys / OLD)
    for name in names:
        write_private(keys / OLD / name, read_private(keys / name, "the key in use"))
        (keys / NEXT / name).replace(keys / name)
    (keys / NEXT).rmdir()
    return PartyIdentity.load(keys)


def drop_keys(path: Path, index: int) -> Deployment:
    """Let only a party's newest keys count, in a deployment file.

    Raises:
        ConfigError: the file is not valid, or names no next keys of this party.
    """
    deployment = Deployment.from_file(path)
    entry = deployment.parties[index]
    if not entry.next_keys:
        raise ConfigError(f"{path} names one pair of keys for party {index}; nothing to drop")
    newest = entry.next_keys[-1]
    changed = {
        "static_key": newest.static_key,
        "signing_key": newest.signing_key,
        "next_keys": None,
    }
    return _write(path, deployment, entry, changed)


def new_certificate(directory: Path, hosts: Sequence[str] = ()) -> Path:
    """Replace a service's TLS key and certificate, for the same hosts, by its own authority.

    Args:
        directory: the service's, as ``libmpc init`` made it.
        hosts: further names or addresses, those of a new triple for instance.

    Raises:
        ConfigError: the directory has no certificate, or no authority to sign another.
    """
    keys = directory / "keys"
    path = keys / TLS_CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(read_public(path, "the certificate"))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise ConfigError(f"{path} is no certificate with hosts in it") from None
    organisation = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    issue_leaf(
        keys,
        str(organisation[0].value) if organisation else "libmpc",
        [*names.get_values_for_type(x509.DNSName), *_addresses(names), *hosts],
        dt.datetime.now(dt.UTC).replace(microsecond=0),
    )
    return path


def _addresses(names: x509.SubjectAlternativeName) -> Sequence[str]:
    return [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def _write(
    path: Path, deployment: Deployment, entry: PartyEntry, changed: Mapping[str, Any]
) -> Deployment:
    parties = tuple(p.model_copy(update=changed) if p is entry else p for p in deployment.parties)
    fields = {**dict(deployment), "first_id": deployment.id.hex(), "parties": parties}
    try:
        # SECURITY: checked as a whole again: no two parties may come to have a key in common.
        fresh = Deployment.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(f"{path} cannot be changed like this: {describe(error)}") from None
    fresh.write(path, COMMENT)
    return fresh

"""How a deployment begins: each party makes its keys, and somebody puts the public halves together.

Nothing here overwrites a key: a second run over the same directory is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic import TypeAdapter as _TypeAdapter

from libmpc.access import FILE_NAME as TOKENS_FILE
from libmpc.access import AccessStore, make_grant
from libmpc.credentials import FILE_NAME, Credential
from libmpc.deployment import (
    MAX_TRIPLES,
    Authorities,
    Deployment,
    GatewayEntry,
    PartyEntry,
    SigningPublic,
    StaticPublic,
    Url,
    check_url,
)
from libmpc.errors import ConfigError
from libmpc.identity.files import (
    new_directory,
    private_directory,
    read_public,
    refuse_existing,
    write_private,
    write_public,
)
from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.identity.signing import SigningKey
from libmpc.identity.storage_keys import STORAGE_KEY, new_storage_keys, used_key_ids
from libmpc.identity.tls import CA_CERTIFICATE, hosts_of, make_tls
from libmpc.identity.yamlfile import dump, read_model
from libmpc.wire.document import describe
from libmpc.wire.fields import Name, Party, Version
from libmpc.wire.lifetime import to_millis

DEPLOYMENT_FILE = "deployment.yaml"
PARTY_FILE = "party.yaml"
GATEWAY_FILE = "gateway.yaml"
CLIENT_FOLDER = "client"
_PUBLIC = "Public. Get it by a way that you trust."
HEALTH_PORT = 8081
DEFAULT_PORT = 8443
TRIPLE = "{triple}"


class PartyPublic(BaseModel):
    """What a party's operator hands to whoever joins the three: nothing in it is secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    version: Version = 1
    index: Party
    url: Url
    more_urls: tuple[Url, ...] | None = None
    static_key: StaticPublic
    signing_key: SigningPublic
    tls_ca: Authorities


def make_party(
    index: int,
    url: str,
    directory: Path,
    *,
    triples: int = 1,
    hosts: Sequence[str] = (),
    listen: str = "0.0.0.0",
    health_host: str = "127.0.0.1",
    health_port: int = HEALTH_PORT,
) -> Path:
    """Make a party's keys, ``party.yaml`` and public file; returns the public file's path.

    Args:
        index: 0, 1 or 2.
        url: where gateways and the other parties will reach it; with ``{triple}`` for the number
            of the process, where there are several.
        triples: how many processes it has.
        hosts: further names or addresses for its certificate.
        listen: the address that it binds.
        health_host, health_port: of the internal port for probes and metrics, which asks nobody
            who they are.

    Raises:
        ConfigError: an argument is not valid, or the directory has keys already.
    """
    if index not in (0, 1, 2):
        raise ConfigError(f"there is no party {index}; parties are 0, 1 and 2")
    urls = urls_of(url, triples)
    host, port = _address(urls[0])
    names = hosts_of(host, [*(_address(more)[0] for more in urls[1:]), *hosts])
    refuse_existing(directory / "keys")
    identity = PartyIdentity.generate()
    with new_directory(directory / "keys") as keys:
        identity.save(keys)
        new_storage_keys().write(keys / STORAGE_KEY)
        make_tls(keys, f"libmpc party {index}", names, _now())
    private_directory(directory / "data")
    settings = {"index": index, **_common(listen, port)}
    write_public(
        directory / PARTY_FILE,
        dump({**settings, "health_host": health_host, "health_port": health_port}),
    )
    public = PartyPublic(
        index=index,
        url=urls[0],
        more_urls=urls[1:] or None,
        static_key=identity.static_public,
        signing_key=identity.signing.public,
        tls_ca=_text(directory / "keys" / CA_CERTIFICATE),
    )
    path = directory / f"party{index}.public.yaml"
    comment = f"Public: give this file to whoever runs 'libmpc init --join'. Party {index}."
    write_public(path, dump(public.model_dump(mode="json", exclude_none=True), comment))
    return path


def urls_of(url: str, triples: int) -> tuple[str, ...]:
    """Where a party is reached in each of so many triples; ``{triple}`` stands for the number.

    Raises:
        ConfigError: there are several triples and no place for the number, or too many.
    """
    if not 1 <= triples <= MAX_TRIPLES:
        raise ConfigError(f"a deployment has 1 to {MAX_TRIPLES} triples, not {triples}")
    if triples > 1 and TRIPLE not in url:
        raise ConfigError(
            f"{triples} triples need an address each: put {TRIPLE} into the URL where the number"
            f" goes, such as https://party0-{TRIPLE}.example.org:8443"
        )
    return tuple(url.replace(TRIPLE, str(number)) for number in range(triples))


def add_storage_key(directory: Path) -> None:
    """Give a party that was made before shares were encrypted a key for them.

    Does nothing where it has one, or has had one: then only a backup helps.
    """
    path = directory / "keys" / STORAGE_KEY
    if not path.exists() and not used_key_ids(directory / "data"):
        new_storage_keys().write(path)


def join(
    public_files: Sequence[Path],
    gateway_url: str,
    directory: Path,
    name: str,
    *,
    hosts: Sequence[str] = (),
    listen: str = "0.0.0.0",
) -> Deployment:
    """Make ``deployment.yaml`` out of three public files, with a gateway and an owner.

    Writes into ``directory``: ``deployment.yaml`` (for everybody), ``credentials.yaml`` (the
    owner's, secret), ``client/`` (for clients: both files without the owner's key) and
    ``gateway/`` (keys, ``gateway.yaml`` and the hashes of both tokens). Each party's operator then
    puts a copy of ``deployment.yaml`` beside its ``party.yaml``.

    Raises:
        ConfigError: a file or an argument is not valid, two parties are one, or the directory has
            a deployment already.
    """
    deployment = join_except_file(public_files, gateway_url, directory, name, hosts, listen)
    for folder in (directory, directory / CLIENT_FOLDER):
        deployment.write(folder / DEPLOYMENT_FILE, _PUBLIC)
    return deployment


def join_except_file(
    public_files: Sequence[Path],
    gateway_url: str,
    directory: Path,
    name: str,
    hosts: Sequence[str],
    listen: str,
    comment: str = "",
) -> Deployment:
    """All of ``join`` but the deployment files for owners and clients."""
    parties = [read_model(Path(p), PartyPublic, "a party's public file") for p in public_files]
    parties.sort(key=lambda party: party.index)
    if [party.index for party in parties] != [0, 1, 2]:
        raise ConfigError("the public files of party 0, party 1 and party 2 are needed, each once")
    host, port = _address(gateway_url)
    tokens = f"gateway/data/{TOKENS_FILE}"
    for path in (DEPLOYMENT_FILE, FILE_NAME, CLIENT_FOLDER, "gateway/keys", tokens):
        refuse_existing(directory / path)
    _check_name(name)
    gateway, owner = GatewayIdentity.generate(), SigningKey.generate()
    entries = [p.model_dump(exclude={"version", "tls_ca"}) for p in parties]
    home = directory / "gateway"
    with new_directory(home / "keys") as keys:
        gateway.save(keys)
        make_tls(keys, "libmpc gateway", hosts_of(host, hosts), _now())
        try:
            first, second, third = (PartyEntry(**entry) for entry in entries)
            deployment = Deployment(
                name=name,
                parties=(first, second, third),
                gateways=(GatewayEntry(url=gateway_url, static_key=gateway.static_public),),
                owners=(owner.public.hex(),),
                tls_ca="".join([*(p.tls_ca for p in parties), _text(keys / CA_CERTIFICATE)]),
                credentials=FILE_NAME,
            )
        except ValidationError as error:
            raise ConfigError(f"the files do not fit together: {describe(error)}") from None
    private_directory(home / "data")
    _make_tokens(home / "data", directory, deployment.id.hex(), owner)
    write_private(home / GATEWAY_FILE, dump(_common(listen, port), comment))
    deployment.write(home / DEPLOYMENT_FILE, comment)
    return deployment


def write_client(path: Path, deployment: Deployment, token: SecretStr) -> None:
    """Make a folder with all that a token's holder needs: the deployment file and the token.

    Raises:
        ConfigError: something is there already.
    """
    named = deployment.model_copy(update={"credentials": FILE_NAME})
    with new_directory(path) as folder:
        Credential(deployment=named.id.hex(), token=token).write(folder / FILE_NAME)
        named.write(folder / DEPLOYMENT_FILE, _PUBLIC)


def _make_tokens(data: Path, directory: Path, deployment: str, owner: SigningKey) -> None:
    """A token for the owner, who may make others, and one for clients, each in its file."""
    now_ms = to_millis(_now().timestamp())
    owners, first = make_grant("owner", "admin", now_ms)
    clients, second = make_grant("client", "client", now_ms)
    store = AccessStore(data)
    try:
        store.add(first)
        store.add(second)
    finally:
        store.close()
    key = SecretStr(_secret(owner))
    private_directory(directory / CLIENT_FOLDER)
    Credential(deployment=deployment, owner_key=key, token=owners).write(directory / FILE_NAME)
    Credential(deployment=deployment, token=clients).write(directory / CLIENT_FOLDER / FILE_NAME)


def _common(listen: str, port: int) -> dict[str, Any]:
    """Settings that parties and gateways share; paths are relative to the file they are in."""
    return {
        "deployment": DEPLOYMENT_FILE,
        "keys": "keys",
        "data": "data",
        "host": listen,
        "port": port,
    }


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(check_url(url))
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from None
    return parts.hostname or "", parts.port or DEFAULT_PORT


def _check_name(name: str) -> None:
    try:
        _TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ConfigError(f"the deployment's name: {describe(error)}") from None


def _secret(key: SigningKey) -> str:
    return key.private.private_bytes_raw().hex()


def _text(path: Path) -> str:
    return read_public(path, "a certificate").decode()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)

"""What ``libmpc init`` has made, as the Secrets and ConfigMaps that ``deploy/k8s`` names.

Everything here is made of other files and can be made again; only they have to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from libmpc.access import FILE_NAME as TOKENS_FILE
from libmpc.deployment import Deployment
from libmpc.deployment_init import (
    DEPLOYMENT_FILE,
    GATEWAY_FILE,
    PARTY_FILE,
    join,
    make_party,
)
from libmpc.errors import ConfigError
from libmpc.identity.files import (
    private_directory,
    read_private,
    read_public,
    write_private,
    write_public,
)
from libmpc.identity.keys import SIGNING_KEY, STATIC_KEY
from libmpc.identity.storage_keys import STORAGE_KEY
from libmpc.identity.tls import CA_CERTIFICATE, LOCAL_HOSTS, TLS_CERTIFICATE, TLS_KEY
from libmpc.identity.yamlfile import dump, read_mapping
from libmpc.kubernetes_objects import Document, config, secret, to_yaml

FOLDER = "kubernetes"
PORT, HEALTH_PORT = 8443, 8081
GATEWAY_URL = f"https://localhost:{PORT}"
_GATEWAY_HOSTS = ("gateway", "gateway.libmpc-gateway", "gateway.libmpc-gateway.svc")
# Where things are in a pod is the manifests' to say, and which triple it is follows from its name.
_ELSEWHERE = (
    *("deployment", "keys", "data", "triple"),
    *("storage_key_file", "database_password_file"),
)
_LISTEN = {"host": "0.0.0.0", "port": PORT, "health_host": "127.0.0.1", "health_port": HEALTH_PORT}
_PRIVATE = "SECRET: whoever has this file can be this service. Keep it as well as the folder keys."


def make_all(directory: Path, triples: int, gateway_url: str, name: str) -> Deployment:
    """Make three parties and a gateway for one cluster: for trying out, as one operator sees all.

    Args:
        directory: gets ``party0`` to ``party2``, and what ``join`` writes.
        triples: how many pods of each party.
        gateway_url: where clients will reach the gateway, a forwarded port for instance.
        name: the deployment's.

    Raises:
        ConfigError: an argument is not valid, or the directory has a deployment already.
    """
    private_directory(directory)
    # Without the cluster's domain, which the resolver adds: it need not be cluster.local.
    files = [
        make_party(
            index,
            f"https://party-{{triple}}.party-pods.libmpc-party{index}.svc:{PORT}",
            directory / f"party{index}",
            triples=triples,
        )
        for index in range(3)
    ]
    hosts = (*_GATEWAY_HOSTS, *LOCAL_HOSTS)
    deployment = join(files, gateway_url, directory, name, hosts=hosts)
    for index in range(3):
        deployment.write(directory / f"party{index}" / DEPLOYMENT_FILE)
    return deployment


def write_manifests(directory: Path) -> list[Path]:
    """Write ``kubernetes/`` in a directory that ``libmpc init`` has filled; replaces older ones.

    For each service of the directory: ``NAME.secret.yaml`` (0600) and ``NAME.config.yaml``, the
    latter with the deployment file once it is there.

    Raises:
        ConfigError: no service is there, or a file of one is missing or not valid.
    """
    written: list[Path] = []
    for home, service, documents in _services(directory):
        folder = directory / FOLDER
        private_directory(folder)
        secrets, public = documents(home)
        for path, write, found, comment in (
            (folder / f"{service}.secret.yaml", write_private, secrets, _PRIVATE),
            (folder / f"{service}.config.yaml", write_public, public, "Public."),
        ):
            write(path, to_yaml(found, comment))
            written.append(path)
    if not written:
        raise ConfigError(
            f"{directory} has neither {PARTY_FILE} nor a gateway's {GATEWAY_FILE}: is it what"
            " 'libmpc init' made?"
        )
    return written


_Documents = Callable[[Path], tuple[list[Document], list[Document]]]


def _services(directory: Path) -> Iterator[tuple[Path, str, _Documents]]:
    for home in (directory, *(directory / f"party{index}" for index in range(3))):
        if (home / PARTY_FILE).exists():
            yield home, f"party{_index(home)}", _party
    for home in (directory, directory / "gateway"):
        if (home / GATEWAY_FILE).exists():
            yield home, "gateway", _gateway


def _party(home: Path) -> tuple[list[Document], list[Document]]:
    settings = read_mapping(home / PARTY_FILE, "a party's settings")
    keys, index = home / str(settings.get("keys", "keys")), _index(home)
    file = settings.get("storage_key_file")
    storage = keys / STORAGE_KEY if file is None else home / str(file)
    places = {STATIC_KEY: keys / STATIC_KEY, SIGNING_KEY: keys / SIGNING_KEY, STORAGE_KEY: storage}
    data = {"index": str(index), PARTY_FILE: _settings(settings)}
    return _service(home, settings, f"libmpc-party{index}", "party", places, data)


def _gateway(home: Path) -> tuple[list[Document], list[Document]]:
    settings = read_mapping(home / GATEWAY_FILE, "a gateway's settings")
    keys = home / str(settings.get("keys", "keys"))
    namespace = "libmpc-gateway"
    places = {STATIC_KEY: keys / STATIC_KEY}
    secrets, public = _service(home, settings, namespace, "gateway", places, {})
    tokens = home / str(settings.get("data", "data")) / TOKENS_FILE
    first = {TOKENS_FILE: read_private(tokens, "the gateway's tokens")}
    # SECURITY: a Secret, as the file is private: a database's URL in it may have a password.
    said = {GATEWAY_FILE: _settings(settings).encode()}
    more = (
        secret(namespace, "gateway-settings", said),
        secret(namespace, "gateway-tokens", first),
    )
    return [*secrets, *more], public


def _service(
    home: Path,
    settings: Mapping[str, Any],
    namespace: str,
    name: str,
    places: Mapping[str, Path],
    data: Mapping[str, str],
) -> tuple[list[Document], list[Document]]:
    keys = home / str(settings.get("keys", "keys"))
    # SECURITY: without the authority's own key, which no service needs.
    tls = {
        TLS_KEY: read_private(keys / TLS_KEY, "the TLS key"),
        TLS_CERTIFICATE: read_public(keys / TLS_CERTIFICATE, "the certificate"),
        CA_CERTIFICATE: read_public(keys / CA_CERTIFICATE, "the certification authority"),
    }
    private = {key: read_private(path, "a private key") for key, path in places.items()}
    secrets = [
        secret(namespace, f"{name}-keys", private),
        secret(namespace, f"{name}-tls", tls, "kubernetes.io/tls"),
    ]
    public = [config(namespace, f"{name}-settings", data)] if data else []
    path = home / str(settings.get("deployment", DEPLOYMENT_FILE))
    if path.exists():
        Deployment.from_file(path)
        text = read_public(path, "the deployment file").decode()
        public.append(config(namespace, "libmpc-deployment", {DEPLOYMENT_FILE: text}))
    return secrets, public


def _settings(settings: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in settings.items() if name not in _ELSEWHERE}
    return dump({**kept, **_LISTEN}).decode()


def _index(home: Path) -> int:
    index = read_mapping(home / PARTY_FILE, "a party's settings").get("index")
    if index not in (0, 1, 2):
        raise ConfigError(f"{home / PARTY_FILE} does not say which party it is ('index')")
    return int(index)

"""Three parties and a gateway on one machine: for trying out, since there one operator sees all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libmpc.deployment import Deployment
from libmpc.deployment_init import (
    CLIENT_FOLDER,
    DEPLOYMENT_FILE,
    GATEWAY_FILE,
    PARTY_FILE,
    add_storage_key,
    join_except_file,
    make_party,
)
from libmpc.errors import ConfigError
from libmpc.identity.files import private_directory, refuse_existing, write_private, write_public
from libmpc.identity.yamlfile import dump, read_mapping

COMMENT = (
    "FOR TRYING OUT ONLY: all three parties were made on one machine, so whoever controls it\n"
    "can read every weight, input and output. Real parties run 'libmpc init --index N' each."
)


Three = tuple[int, int, int]


@dataclass(frozen=True)
class LocalPorts:
    """The ports of a deployment on one machine.

    Attributes:
        parties, health: of triple 0.
        more: both, of the triples from 1 on.
    """

    parties: Three
    health: Three
    gateway: int
    more: tuple[tuple[Three, Three], ...] = field(default=(), kw_only=True)

    @property
    def triples(self) -> tuple[tuple[Three, Three], ...]:
        """The parties' ports and those of their probes, by triple."""
        return ((self.parties, self.health), *self.more)


def party_folder(index: int, triple: int = 0) -> str:
    """The folder of one party's process: ``party0`` in triple 0, ``party0-1`` in triple 1."""
    return f"party{index}-{triple}" if triple else f"party{index}"


def make_all(
    directory: Path,
    ports: LocalPorts,
    *,
    name: str = "local",
    host: str = "127.0.0.1",
    publish: bool = True,
) -> Deployment:
    """Make everything in ``party0`` to ``party2`` and ``gateway`` below a directory.

    Each service has its own copy of the deployment file, as on a machine of its own.

    Args:
        publish: also write ``deployment.yaml`` into the directory itself; otherwise call
            ``publish_all`` once queries can be answered.

    Raises:
        ConfigError: an argument is not valid, or the directory has a deployment already.
    """
    private_directory(directory)
    for part in ("party0", "party1", "party2", "gateway", DEPLOYMENT_FILE):
        refuse_existing(directory / part)
    files = [
        make_party(
            index,
            _url(host, ports.parties[index]),
            directory / f"party{index}",
            listen=host,
            health_port=ports.health[index],
        )
        for index in range(3)
    ]
    gateway_url = _url(host, ports.gateway)
    join_except_file(files, gateway_url, directory, name, (), host, COMMENT)
    return move_all(directory, ports, host=host, publish=publish)


def is_made(directory: Path) -> bool:
    """Whether ``make_all`` has been here, so that ``move_all`` is the one to call."""
    return (directory / "gateway" / DEPLOYMENT_FILE).exists()


def move_all(
    directory: Path, ports: LocalPorts, *, host: str = "127.0.0.1", publish: bool = True
) -> Deployment:
    """Give what ``make_all`` has made other ports; keys, models and the deployment's id stay.

    There are as many triples afterwards as there are ports for. A further process of a party uses
    its party's keys and has a folder of its own for the rest, which stays when it is not used.

    Raises:
        ConfigError: a file is missing or not valid.
    """
    home = directory / "gateway"
    deployment = Deployment.from_file(home / DEPLOYMENT_FILE)
    parties = tuple(
        entry.model_copy(update=_urls(host, [numbers[entry.index] for numbers, _ in ports.triples]))
        for entry in deployment.parties
    )
    if len(deployment.gateways) != 1:
        raise ConfigError(f"{home / DEPLOYMENT_FILE} has more than the gateway of this machine")
    (gateway,) = deployment.gateways
    gateways = (gateway.model_copy(update={"url": _url(host, ports.gateway)}),)
    moved = Deployment.model_validate(
        {**dict(deployment), "parties": parties, "gateways": gateways}
    )
    for index in range(3):
        add_storage_key(directory / party_folder(index))
        for triple, (numbers, health) in enumerate(ports.triples):
            part = directory / party_folder(index, triple)
            if triple:
                _add_process(part, index, triple)
            changes = {"port": numbers[index], "health_port": health[index]}
            content = _changed(part / PARTY_FILE, {"host": host, "health_host": host, **changes})
            write_public(part / PARTY_FILE, content)
            moved.write(part / DEPLOYMENT_FILE, COMMENT)
    content = _changed(home / GATEWAY_FILE, {"host": host, "port": ports.gateway})
    write_private(home / GATEWAY_FILE, content)
    moved.write(home / DEPLOYMENT_FILE, COMMENT)
    if publish:
        publish_all(directory)
    return moved


def _add_process(part: Path, index: int, triple: int) -> None:
    """Give a party a folder for its process of a further triple."""
    if (part / PARTY_FILE).exists():
        return
    private_directory(part)
    private_directory(part / "data")
    settings = {"index": index, "triple": triple, "deployment": DEPLOYMENT_FILE}
    paths = {"keys": f"../{party_folder(index)}/keys", "data": "data"}
    write_public(part / PARTY_FILE, dump({**settings, **paths}, COMMENT))


def publish_all(directory: Path) -> Path:
    """Put ``deployment.yaml`` for owners and clients into place, and return the owner's path.

    Raises:
        ConfigError: the directory has no deployment.
    """
    deployment = Deployment.from_file(directory / "gateway" / DEPLOYMENT_FILE)
    for path in _published(directory):
        deployment.write(path, COMMENT)
    return directory / DEPLOYMENT_FILE


def withdraw_all(directory: Path) -> None:
    """Take away what ``publish_all`` has put into place."""
    for path in _published(directory):
        path.unlink(missing_ok=True)


def _published(directory: Path) -> list[Path]:
    # The owner's last: whoever waits for that one finds the other.
    folders = (directory / CLIENT_FOLDER, directory)
    # A deployment from before there was a file for clients has the owner's only.
    return [folder / DEPLOYMENT_FILE for folder in folders if folder.is_dir()]


def _changed(path: Path, changes: dict[str, Any]) -> bytes:
    return dump({**read_mapping(path, "a service's settings"), **changes}, COMMENT)


def _urls(host: str, numbers: list[int]) -> dict[str, Any]:
    url, *more = (_url(host, number) for number in numbers)
    return {"url": url, "more_urls": tuple(more) or None}


def _url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

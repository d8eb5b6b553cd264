"""A deployment on this machine, running: files, processes, and the moment at which it is ready."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from libmpc.cluster.child import Report
from libmpc.cluster.lock import directory_lock
from libmpc.cluster.ports import Ports, by_triple, choose_ports
from libmpc.cluster.scaling import LocalServices
from libmpc.cluster.services import commands, is_ready
from libmpc.cluster.supervisor import Supervisor
from libmpc.deployment import MAX_TRIPLES, Deployment
from libmpc.deployment_init import DEPLOYMENT_FILE, GATEWAY_FILE, PARTY_FILE
from libmpc.deployment_local import (
    LocalPorts,
    is_made,
    make_all,
    move_all,
    party_folder,
    publish_all,
    withdraw_all,
)
from libmpc.errors import ConfigError
from libmpc.identity.files import private_directory
from libmpc.identity.yamlfile import read_mapping

READY_SECONDS = 120.0


@contextlib.contextmanager
def running(
    directory: Path,
    report: Report,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    logs: bool = True,
    timeout: float = READY_SECONDS,
    interrupted: Callable[[], bool] = lambda: False,
    triples: int | None = None,
) -> Iterator[LocalServices]:
    """Run three parties and a gateway in a directory; what it has from before is kept.

    The block begins when queries can be answered, and ``deployment.yaml`` is there while it lasts.

    Args:
        directory: made, with keys, the first time.
        report: told of what happens to each service.
        host: the address to bind.
        port: the gateway's; the next seven are the parties' and their probes', and six more of
            every further triple. ``None``: free ones.
        logs: whether services print to files in ``directory/logs``, or to ``report``.
        timeout: seconds until everything must be ready.
        interrupted: asked while waiting; the block begins early when it says yes.
        triples: how many processes each party has; ``None``: as many as before, at first one.

    Raises:
        ConfigError: the directory is in use or not usable, or a port is in use.
        ServiceError: not ready in time; has the end of the logs.
    """
    directory = directory.absolute()
    _make(directory)
    with directory_lock(directory), _withdrawn(directory):
        deployment, ports = _prepare(directory, host, port, triples)
        with Supervisor(commands(directory, ports, logs=logs), report) as supervisor:
            services = LocalServices(directory, supervisor, host, ports, logs)
            supervisor.wait_until(
                lambda: interrupted() or (is_ready(deployment) and services.all_ready()), timeout
            )
            if not interrupted():
                publish_all(directory)
            yield services


def _make(directory: Path) -> None:
    try:
        private_directory(directory)
    except OSError as error:
        raise ConfigError(f"cannot make the directory {directory}: {error.strerror}") from None


@contextlib.contextmanager
def _withdrawn(directory: Path) -> Iterator[None]:
    """No deployment file for clients before and after."""
    path = directory / DEPLOYMENT_FILE
    if path.exists() and not is_made(directory):
        raise ConfigError(f"{directory} has a deployment of another kind; choose another directory")
    withdraw_all(directory)
    try:
        yield
    finally:
        withdraw_all(directory)


def _prepare(
    directory: Path, host: str, port: int | None, triples: int | None
) -> tuple[Deployment, Ports]:
    if triples is not None and not 1 <= triples <= MAX_TRIPLES:
        raise ConfigError(f"there can be 1 to {MAX_TRIPLES} triples")
    if not is_made(directory):
        ports = choose_ports(host, port, triples=triples or 1)
        return make_all(directory, ports, host=host, publish=False), ports
    before = Deployment.from_file(directory / "gateway" / DEPLOYMENT_FILE).triples
    ports = choose_ports(host, port, _previous(directory, before), triples or before)
    return move_all(directory, ports, host=host, publish=False), ports


def _previous(directory: Path, triples: int) -> LocalPorts | None:
    """The ports of the last run, so that addresses stay the same where they can."""
    gateway = read_mapping(directory / "gateway" / GATEWAY_FILE, "the gateway's settings")
    numbers = [gateway.get("port")]
    for triple in range(triples):
        parties = [
            read_mapping(directory / party_folder(index, triple) / PARTY_FILE, "a party's settings")
            for index in range(3)
        ]
        numbers += [party.get("port") for party in parties]
        numbers += [party.get("health_port") for party in parties]
    known = [number for number in numbers if isinstance(number, int)]
    if len(known) < len(numbers):
        return None
    first, *rest = known
    (parties_, health), *more = by_triple(rest)
    return LocalPorts(parties=parties_, health=health, gateway=first, more=tuple(more))

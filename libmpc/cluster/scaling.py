"""The services of a local deployment while they run, with triples that come and go."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from libmpc.cluster.ports import Ports, more_ports
from libmpc.cluster.services import commands, party_name, ready_triples
from libmpc.cluster.supervisor import Supervisor
from libmpc.deployment import MAX_TRIPLES
from libmpc.deployment_init import DEPLOYMENT_FILE
from libmpc.deployment_local import move_all
from libmpc.errors import ConfigError


class LocalServices:
    """What runs in a directory.

    Args:
        logs: whether services print to files.
    """

    def __init__(
        self, directory: Path, supervisor: Supervisor, host: str, ports: Ports, logs: bool
    ) -> None:
        self._directory = directory
        self._supervisor = supervisor
        self._host = host
        self._ports = ports
        self._logs = logs

    @property
    def processes(self) -> dict[str, int | None]:
        """Each service's process id by its name; ``None`` for one that is not running now."""
        return self._supervisor.processes

    @property
    def triples(self) -> int:
        """How many processes each party has."""
        return len(self._ports.triples)

    def ready(self) -> dict[int, bool]:
        """The triples that the gateway knows, and whether each can answer."""
        return ready_triples(self._host, self._ports)

    def all_ready(self) -> bool:
        """Whether the gateway knows all triples and finds each of them ready."""
        if self.triples == 1:
            return True  # then the gateway's own readiness says it
        found = self.ready()
        return len(found) == self.triples and all(found.values())

    def scale(self, triples: int, timeout: float) -> None:
        """Add triples, or remove the last ones, while queries go on being answered.

        As an operator does it: other addresses in the deployment files, then SIGHUP to everybody.
        Triples that are added are ready when this returns; those that are removed have answered
        what was under way there.

        Raises:
            ConfigError: there can not be so many, or this system has no SIGHUP.
            ServiceError: not within ``timeout`` seconds.
        """
        if not 1 <= triples <= MAX_TRIPLES:
            raise ConfigError(f"there can be 1 to {MAX_TRIPLES} triples")
        hang_up = getattr(signal, "SIGHUP", None)
        if hang_up is None:
            raise ConfigError("this system has no SIGHUP; restart with another number of triples")
        before = self.triples
        self._ports = more_ports(self._host, self._ports, triples)
        move_all(
            self._directory,
            self._ports,
            host=self._host,
            publish=(self._directory / DEPLOYMENT_FILE).exists(),
        )
        new = {party_name(index, triple) for triple in range(before, triples) for index in range(3)}
        made = commands(self._directory, self._ports, logs=self._logs)
        self._supervisor.add(command for command in made if command.name in new)
        for name, process in self.processes.items():
            if process is not None and name not in new:
                os.kill(process, hang_up)
        self._supervisor.wait_until(self._settled, timeout)
        gone = range(triples, before)
        self._supervisor.remove(party_name(index, triple) for triple in gone for index in range(3))

    def _settled(self) -> bool:
        found = self.ready()
        return found.keys() == set(range(self.triples)) and all(found.values())

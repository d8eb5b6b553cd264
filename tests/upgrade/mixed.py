"""A deployment whose services are of different builds, and clients of either that ask it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from libmpc.cluster.child import Child, Command
from libmpc.cluster.ports import choose_ports
from libmpc.cluster.services import commands, is_ready
from libmpc.deployment_local import make_all, publish_all
from tests.cluster.programs import until
from tests.upgrade.builds import Build

SERVICES = ("party 0", "party 1", "party 2", "gateway")
ASKER = Path(__file__).with_name("asker.py")
READY_SECONDS = 180.0


class Mixed:
    """Three parties and a gateway as processes, each of a build of its own.

    Attributes:
        directory: where their files are.
        deployment: the owner's deployment file.
        builds: which build each service is of.
    """

    def __init__(self, directory: Path, build: Build) -> None:
        self.directory = directory
        ports = choose_ports("127.0.0.1", None)
        self._deployment = make_all(directory, ports, publish=False)
        self.deployment = publish_all(directory)
        self._commands = {c.name: c for c in commands(directory, ports, logs=True)}
        self._children: dict[str, Child] = {}
        self.builds: dict[str, Build] = {}
        for service in SERVICES:
            self.start(service, build)
        self.wait()

    def start(self, service: str, build: Build) -> None:
        """Start a service that does not run."""
        command: Command = self._commands[service]
        environment: Mapping[str, str] = {**(command.environment or {}), **build.environment}
        self._children[service] = Child(
            replace(command, environment=environment), lambda name, line: None
        )
        self._children[service].start()
        self.builds[service] = build

    def stop(self, service: str) -> None:
        """SIGTERM, and wait until it has ended."""
        child = self._children.pop(service)
        child.terminate()
        if not child.join(20):
            child.kill()
            raise AssertionError(f"{service} does not stop")

    def wait(self) -> None:
        """Until the gateway says that queries can be answered."""
        until(lambda: is_ready(self._deployment), READY_SECONDS)

    def close(self) -> None:
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            if not child.join(20):
                child.kill()

    def log(self, service: str) -> str:
        """What a service has printed."""
        return (self.directory / "logs" / f"{service.replace(' ', '')}.log").read_text()


@contextlib.contextmanager
def mixed(directory: Path, build: Build) -> Iterator[Mixed]:
    """A deployment, all of one build at first."""
    deployment = Mixed(directory, build)
    try:
        yield deployment
    finally:
        deployment.close()


@dataclass(frozen=True)
class Call:
    """One query: when it began and ended, and what came of it."""

    begin: float
    end: float
    what: str
    text: str


class Asker:
    """A client process of some build that asks without pause."""

    def __init__(self, build: Build, *arguments: object) -> None:
        self.build = build
        self.calls: list[Call] = []
        self._process = subprocess.Popen(
            (sys.executable, "-P", str(ASKER), *map(str, arguments)),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **build.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._other: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                self._other.append(line)
            else:
                self.calls.append(Call(**found))

    def answers(self, since: float) -> int:
        """Right answers to queries that were asked after a moment."""
        return sum(c.what == "right" and c.begin > since for c in list(self.calls))

    def go_on(self, least: int = 3) -> None:
        """Wait until so many queries asked from now on have been answered."""
        now = time.monotonic()
        until(lambda: self._process.poll() is not None or self.answers(now) >= least, 60)
        assert self._process.poll() is None, self._other

    def stop(self) -> None:
        """Ask no more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(70)
        finally:
            self._process.kill()
            self._thread.join(5)
            if self._process.stdout is not None:
                self._process.stdout.close()
        assert not self._other, self._other

"""What the container tests need of the machine: an engine, its compose command, our images."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMAGES = {"party": "libmpc-party:0.1.0", "gateway": "libmpc-gateway:0.1.0"}
REQUIRED = "LIBMPC_TEST_CONTAINERS"
"""Set to 1 where a missing engine is a failure and not a reason to skip."""


def connect() -> Any:
    """A client of the engine; raises whatever is in the way."""
    import docker

    client = docker.from_env(timeout=60)
    try:
        client.ping()
    except BaseException:
        client.close()
        raise
    return client


def compose_command() -> list[str]:
    """The compose command, version 2 or later; empty where there is none."""
    beside = Path(sys.executable).parent / "docker-compose"
    for command in (["docker", "compose"], [str(beside)], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        version = asked.stdout.strip().removeprefix("v").partition(".")[0]
        if asked.returncode == 0 and version.isdecimal() and int(version) >= 2:
            return command
    return []


class Compose:
    """One project, made from a copy of ``compose.yaml`` in a directory of its own."""

    def __init__(self, directory: Path, project: str, port: int) -> None:
        self.directory = directory
        self.project = project
        self.port = port
        self._command = compose_command()
        shutil.copy(ROOT / "compose.yaml", directory)

    @property
    def deployment(self) -> Path:
        """What it leaves for clients."""
        return self.directory / ".libmpc" / "deployment.yaml"

    def __call__(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command and return what it printed."""
        done = subprocess.run(
            [*self._command, "--project-name", self.project, *arguments],
            cwd=self.directory,
            env={**os.environ, "LIBMPC_PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextlib.contextmanager
    def cleaned_up(self) -> Iterator[Compose]:
        """Leave nothing of it behind."""
        try:
            yield self
        finally:
            self("down", "--volumes", "--remove-orphans", "--timeout", "5")


def build() -> None:
    """Build both images, as the README says."""
    done = subprocess.run(
        [*compose_command(), "build"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:]

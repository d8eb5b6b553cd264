"""A deployment on this machine as containers: made, watched, stopped through the docker SDK."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from libmpc.cluster.child import Report
from libmpc.cluster.docker_engine import Engine
from libmpc.cluster.docker_spec import Service, services
from libmpc.cluster.docker_watch import Watch
from libmpc.cluster.lock import directory_lock
from libmpc.cluster.ports import choose_ports
from libmpc.cluster.services import is_ready
from libmpc.credentials import FILE_NAME as CREDENTIALS
from libmpc.deployment import Deployment
from libmpc.deployment_init import CLIENT_FOLDER, DEPLOYMENT_FILE
from libmpc.deployment_local import withdraw_all
from libmpc.errors import ConfigError, ServiceError
from libmpc.identity.files import private_directory, write_private, write_public

PROJECT_FILE = "docker-project"
READY_SECONDS = 120.0
STOP_SECONDS = 4
_POLL_SECONDS = 0.2
_TAIL_LINES = 15
_PROJECT = re.compile(r"libmpc-[0-9a-f]{8}")


class Containers:
    """The four containers of a running deployment."""

    def __init__(self, watches: list[Watch]) -> None:
        self._watches = watches

    @property
    def processes(self) -> dict[str, int | None]:
        """Each service's process on the engine's machine; ``None`` for one that does not run."""
        return {watch.name: watch.pid for watch in self._watches}

    @property
    def containers(self) -> dict[str, str]:
        """Each container's name by its service's."""
        return {watch.name: watch.container.name for watch in self._watches}


@contextlib.contextmanager
def running_in_docker(
    directory: Path,
    report: Report,
    *,
    port: int | None = None,
    timeout: float = READY_SECONDS,
    keep: bool = True,
) -> Iterator[Containers]:
    """Run three parties and a gateway as containers; keys and shares are in volumes.

    The block begins when queries can be answered; ``deployment.yaml`` and the owner's credentials
    are in ``directory`` while it lasts. All containers end with this process, however it ends.

    Args:
        directory: names the project, so that another run finds the same volumes.
        report: told of what the services print and of their ends.
        port: where the gateway is published on 127.0.0.1; by default a free port.
        timeout: seconds until everything must be ready.
        keep: whether volumes stay afterwards.

    Raises:
        ConfigError: no engine or image, or the directory is in use.
        ServiceError: not ready in time; has the end of the logs.
    """
    directory = directory.absolute()
    private_directory(directory)
    with directory_lock(directory), contextlib.ExitStack() as stack:
        engine = Engine(_project(directory))
        stack.callback(engine.close)
        engine.remove(volumes=False)  # what a run has left that ended without a chance
        wanted = services()
        number = choose_ports("127.0.0.1", None).gateway if port is None else port
        stack.callback(engine.remove, volumes=not keep)
        engine.prepare({service.image for service in wanted})
        deployment = _publish(directory, engine.initialise(number))
        stack.callback(withdraw_all, directory)
        watches = _start(engine, wanted, number, report, stack)
        _wait(deployment, watches, timeout)
        yield Containers(watches)


def _project(directory: Path) -> str:
    path = directory / PROJECT_FILE
    if not path.exists():
        if (directory / DEPLOYMENT_FILE).exists() or (directory / "gateway").exists():
            raise ConfigError(
                f"{directory} has a deployment of another kind; choose another directory"
            )
        write_public(path, f"libmpc-{secrets.token_hex(4)}\n".encode())
    name = path.read_text().strip()
    if not _PROJECT.fullmatch(name):
        raise ConfigError(f"{path} is damaged; choose another directory")
    return name


def _publish(directory: Path, files: dict[str, bytes]) -> Deployment:
    for folder in ("", f"{CLIENT_FOLDER}/"):
        (directory / folder).mkdir(mode=0o700, exist_ok=True)
        for name, write in ((CREDENTIALS, write_private), (DEPLOYMENT_FILE, write_public)):
            # Volumes from before there was a file for clients have none.
            if (content := files.get(folder + name)) is not None:
                write(directory / folder / name, content)
    return Deployment.from_file(directory / DEPLOYMENT_FILE)


def _start(
    engine: Engine,
    wanted: tuple[Service, ...],
    port: int,
    report: Report,
    stack: contextlib.ExitStack,
) -> list[Watch]:
    watches = [Watch(service.title, engine.create(service, port), report) for service in wanted]
    stack.callback(_stop, watches)
    for watch in watches:
        watch.start()
    return watches


def _stop(watches: list[Watch]) -> None:
    with ThreadPoolExecutor(len(watches)) as pool:
        list(pool.map(lambda watch: watch.stop(STOP_SECONDS), watches))
    for watch in watches:
        watch.join(1.0)


def _wait(deployment: Deployment, watches: list[Watch], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not is_ready(deployment):
        if time.monotonic() > deadline:
            logs = "".join(f"\n{watch.name}:\n{watch.log(_TAIL_LINES)}" for watch in watches)
            raise ServiceError(f"not ready within {timeout:g} s{logs}")
        time.sleep(_POLL_SECONDS)

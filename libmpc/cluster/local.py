"""Three parties and a gateway as processes of this machine, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar, get_args

from libmpc.cluster.local_deployment import READY_SECONDS, running
from libmpc.cluster.remote import Cluster
from libmpc.cluster.scaling import LocalServices
from libmpc.cluster.served import ServedModel
from libmpc.deployment_init import DEPLOYMENT_FILE
from libmpc.errors import ConfigError

if TYPE_CHECKING:
    from libmpc.client.card import ModelSummary
    from libmpc.client.shell import Progress
    from libmpc.graph.model import Model

log = logging.getLogger("libmpc.cluster")

T = TypeVar("T")
Backend = Literal["process", "docker"]


class Services(Protocol):
    """What runs, whichever way."""

    @property
    def processes(self) -> dict[str, int | None]:
        """Process ids by service."""
        ...


class LocalCluster:
    """A deployment for trying out, demonstrations and tests: one machine sees everything.

    Use it as a context manager, or call ``start`` and ``stop``. A service that dies is started
    again; all of them end with this process, however it ends.

    Args:
        directory: where keys, shares and logs are; made if needed, kept afterwards, and used again
            by the next run. By default a temporary one that is deleted.
        port: the gateway's port; the seven after it are used too, and six more for every further
            triple. By default free ones.
        timeout: seconds that starting may take.
        backend: ``process``, or ``docker`` for containers (``pip install 'libmpc[docker]'``, and
            the images, ``make images``). Containers keep keys and shares in volumes, and need no
            port but the gateway's.
        triples: how many processes each party has (see docs/scaling.md), with ``process`` only. By
            default as many as the directory has from before, and one at first.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        timeout: float = READY_SECONDS,
        backend: Backend = "process",
        triples: int | None = None,
    ) -> None:
        if backend not in get_args(Backend):
            raise ConfigError(f"there is no backend {backend!r}; take 'process' or 'docker'")
        if backend != "process" and triples not in (None, 1):
            raise ConfigError("containers have one triple here; take the backend 'process'")
        self._backend = backend
        self._triples = triples
        self._given = None if directory is None else Path(directory)
        self._port = port
        self._timeout = timeout
        self._stack = contextlib.ExitStack()
        self._directory: Path | None = None
        self._supervisor: Services | None = None
        self._cluster: Cluster | None = None

    def start(self) -> None:
        """Start it and wait until queries can be answered.

        Raises:
            ConfigError: the directory or a port cannot be used, or it runs already.
            ServiceError: it is not ready in time; has the end of the services' logs.
        """
        if self._directory is not None:
            raise ConfigError("this cluster runs already")
        with contextlib.ExitStack() as stack:
            directory = self._given or Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="libmpc-", ignore_cleanup_errors=True)
                )
            )
            supervisor = stack.enter_context(self._running(directory))
            cluster = stack.enter_context(Cluster.from_file(directory / DEPLOYMENT_FILE))
            self._directory, self._supervisor, self._cluster = directory, supervisor, cluster
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Stop all services, within 5 seconds. A second call does nothing."""
        self._directory = self._supervisor = self._cluster = None
        self._stack.close()

    def _running(self, directory: Path) -> contextlib.AbstractContextManager[Services]:
        if self._backend == "process":
            return running(
                directory, _log, port=self._port, timeout=self._timeout, triples=self._triples
            )
        from libmpc.cluster.docker_local import running_in_docker

        return running_in_docker(
            directory,
            _log,
            port=self._port,
            timeout=self._timeout,
            keep=self._given is not None,
        )

    @property
    def directory(self) -> Path:
        """Where the keys, shares and logs are."""
        return _running(self._directory)

    @property
    def deployment(self) -> Path:
        """The deployment file, which is what a ``Client`` wants."""
        return _running(self._cluster).deployment

    @property
    def processes(self) -> dict[str, int | None]:
        """Process ids by service; ``None`` while down.

        The services are ``gateway`` and ``party 0`` to ``party 2``, and of further triples
        ``party 0.1`` to ``party 2.1`` and so on.
        """
        return _running(self._supervisor).processes

    def scale(self, triples: int) -> None:
        """Add triples, or remove the last ones, while queries go on being answered.

        Raises:
            ConfigError: there can not be so many, or not with this backend.
            ServiceError: not ready within ``timeout`` seconds.
        """
        services = _running(self._supervisor)
        if not isinstance(services, LocalServices):
            raise ConfigError("containers have one triple here; take the backend 'process'")
        services.scale(triples, self._timeout)

    def share(
        self,
        model: Model,
        name: str | None = None,
        *,
        replace: bool = False,
        serve: bool = False,
        num_requests: int | None = None,
        output: str = "logits",
        progress: Progress | None = None,
    ) -> ServedModel:
        """Share a model among the three parties; see ``Cluster.share``."""
        return _running(self._cluster).share(
            model,
            name,
            replace=replace,
            serve=serve,
            num_requests=num_requests,
            output=output,
            progress=progress,
        )

    def models(self) -> list[ModelSummary]:
        """The models that are stored; see ``Cluster.models``."""
        return _running(self._cluster).models()

    def model(self, name: str) -> ServedModel:
        """A model that was shared before; see ``Cluster.model``."""
        return _running(self._cluster).model(name)

    def stored(self, name: str) -> list[ServedModel]:
        """All that is listed under a name; see ``Cluster.stored``."""
        return _running(self._cluster).stored(name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = self._directory or self._given or "a temporary directory"
        return f"LocalCluster({str(where)!r}, running={self._supervisor is not None})"


def _running(part: T | None) -> T:
    if part is None:
        raise ConfigError("this cluster does not run; use it in a with block, or call start()")
    return part


def _log(name: str, line: str) -> None:
    log.info("%s: %s", name, line)

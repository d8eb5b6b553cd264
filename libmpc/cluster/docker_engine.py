"""The container engine through the docker SDK, which has no types and is not always there."""

from __future__ import annotations

import contextlib
import importlib
import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from libmpc.cluster.container_init import ACCESS, NAMES
from libmpc.cluster.docker_spec import (
    CLOSED,
    INTERNAL,
    PARTY_IMAGE,
    PUBLIC,
    PUBLISHED,
    Service,
)
from libmpc.errors import ConfigError, ServiceError

LABEL = "org.libmpc.project"
_KIND = "org.libmpc.service"


class Engine:
    """One project's containers, volumes and networks.

    Args:
        project: begins all of their names, and labels them.

    Raises:
        ConfigError: the SDK is not installed, or no engine answers.
    """

    def __init__(self, project: str) -> None:
        try:
            sdk: Any = importlib.import_module("docker")
        except ModuleNotFoundError:
            raise ConfigError(
                "backend='docker' needs the docker SDK; run: pip install 'libmpc[docker]'"
            ) from None
        self.project = project
        self._failure: Any = sdk.errors.DockerException
        try:
            self._client: Any = sdk.from_env(timeout=60)
            self._client.ping()
        except Exception as error:  # noqa: BLE001 - the SDK lets all kinds through
            raise ConfigError(
                f"no container engine answers ({type(error).__name__}); start Docker, or set "
                "DOCKER_HOST"
            ) from None

    def close(self) -> None:
        """Close the connection to the engine."""
        self._client.close()

    def prepare(self, images: set[str]) -> None:
        """Make networks and volumes that are missing, and check that the images are there.

        Raises:
            ConfigError: an image is missing.
            ServiceError: the engine refused.
        """
        with self._explained("prepare"):
            missing = sorted(images - {t for i in self._client.images.list() for t in i.tags})
            if missing:
                raise ConfigError(
                    f"the images {', '.join(missing)} are not there; make them in libmpc's "
                    "repository: make images"
                )
            there = {network.name for network in self._networks()}
            for name in (*NAMES[:3], "public"):
                if self._name(name) not in there:
                    inner = name != "public"
                    options = dict(INTERNAL if inner else PUBLIC)
                    self._client.networks.create(
                        self._name(name), internal=inner, options=options, labels=self._labels()
                    )

    def initialise(self, port: int) -> dict[str, bytes]:
        """Run the job that makes keys; returns the files for clients by name.

        Raises:
            ServiceError: it failed; has what it printed.
        """
        folders = (*NAMES, ACCESS, "owner", "host")
        volumes = {self._volume(name): {"bind": f"/init/{name}"} for name in folders}
        with self._explained("make the keys"):
            container = self._client.containers.create(
                PARTY_IMAGE,
                entrypoint=["python", "-P", "-m", "libmpc.cluster.container_init"],
                command=[],
                user="0:0",
                network_mode="none",
                environment={"LIBMPC_PORT": str(port)},
                volumes=volumes,
                labels=self._labels("init"),
                cap_add=["CHOWN", "DAC_OVERRIDE"],
                mem_limit=512 << 20,
                **CLOSED,
            )
            try:
                container.start()
                if container.wait(timeout=60)["StatusCode"] != 0:
                    text = container.logs().decode(errors="replace").strip()
                    raise ServiceError(f"the keys were not made: {text}")
                chunks, _ = container.get_archive("/init/host")
                return dict(_files(b"".join(chunks)))
            finally:
                container.remove(force=True)

    def create(self, service: Service, port: int) -> Any:
        """Make a service's container, not started.

        Raises:
            ServiceError: the engine refused.
        """
        first, *rest = service.networks
        endpoint = self._client.api.create_endpoint_config(aliases=[service.host])
        published = service.host == "gateway"
        volumes = {
            self._volume(name): {"bind": folder, "mode": mode}
            for name, (folder, mode) in service.volumes.items()
        }
        options = service.options()
        options["environment"]["LIBMPC_LIFELINE_FD"] = "0"
        with self._explained(f"make {service.title}"):
            container = self._client.containers.create(
                service.image,
                name=self._name(service.host),
                labels=self._labels(service.host),
                volumes=volumes,
                network=self._name(first),
                networking_config={self._name(first): endpoint},
                ports={PUBLISHED: ("127.0.0.1", port)} if published else None,
                # Its standard input stays open for as long as this process lives; see Watch.
                stdin_open=True,
                **options,
            )
            for name in rest:
                network = self._client.networks.get(self._name(name))
                network.connect(container, aliases=[service.host])
            return container

    def remove(self, *, volumes: bool) -> None:
        """Stop and remove all containers and networks of the project, and volumes if wanted."""
        containers = self._client.containers.list(all=True, filters={"label": self._label})
        for container in containers:
            self._try(container.remove, force=True)
        for network in self._networks():
            self._try(network.remove)
        for volume in self._client.volumes.list(filters={"label": self._label}) if volumes else ():
            self._try(volume.remove)

    @property
    def _label(self) -> str:
        return f"{LABEL}={self.project}"

    def _labels(self, service: str = "") -> dict[str, str]:
        return {LABEL: self.project, **({_KIND: service} if service else {})}

    def _name(self, part: str) -> str:
        return f"{self.project}-{part}"

    def _volume(self, part: str) -> str:
        name = self._name(part)
        self._client.volumes.create(name, labels=self._labels())
        return name

    def _networks(self) -> list[Any]:
        found: list[Any] = self._client.networks.list(filters={"label": self._label})
        return found

    def _try(self, action: Callable[..., object], **options: Any) -> None:
        with contextlib.suppress(self._failure, OSError):
            action(**options)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            reason = getattr(error, "explanation", None) or error
            raise ServiceError(f"the container engine could not {what}: {reason}") from None


def _files(archive: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name.partition("/")[2], file.read()  # without "host/"

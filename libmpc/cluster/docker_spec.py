"""What containers a local deployment has, and how they are closed: the same as ``compose.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from libmpc._version import __version__
from libmpc.cluster.container_init import ACCESS, PORT, SERVICE_ID

PARTY_IMAGE = f"libmpc-party:{__version__}"
GATEWAY_IMAGE = f"libmpc-gateway:{__version__}"

CLOSED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 256,
}
"""For every container."""

INTERNAL: Mapping[str, str] = {"com.docker.network.bridge.inhibit_ipv4": "true"}
PUBLIC: Mapping[str, str] = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
"""Options of networks: parties have no way out, and the gateway opens no connections outside."""

_TMPFS = f"mode=0700,uid={SERVICE_ID},gid={SERVICE_ID},size=16m,noexec,nosuid,nodev"
_CORES = 1_000_000_000  # in billionths


@dataclass(frozen=True)
class Service:
    """One container that keeps running.

    Attributes:
        host: its name for the others.
        title: its name for people.
        networks: the first one is where its port is published, if it is.
        volumes: volume's short name to (folder, ``ro`` or ``rw``).
    """

    host: str
    title: str
    image: str
    arguments: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: Mapping[str, tuple[str, str]]
    memory: int
    environment: Mapping[str, str]
    tmpfs: Mapping[str, str] = field(default_factory=lambda: {"/tmp": _TMPFS})  # noqa: S108

    def options(self) -> dict[str, Any]:
        """Arguments for the SDK that do not depend on the project."""
        return {
            **CLOSED,
            "command": list(self.arguments),
            "environment": dict(self.environment),
            "init": True,
            "dns": ["127.0.0.1"],  # SECURITY: otherwise old engines ask the host's name server
            "mem_limit": self.memory,
            "memswap_limit": self.memory,
            "nano_cpus": _CORES,
            "tmpfs": dict(self.tmpfs),
            "restart_policy": {"Name": "on-failure"},
        }


def services() -> tuple[Service, ...]:
    """Three parties and the gateway."""
    return (*(_party(index) for index in range(3)), _gateway())


def _party(index: int) -> Service:
    # A party's network has those in it who call it: the gateway, and the parties before it.
    return Service(
        host=f"party{index}",
        title=f"party {index}",
        image=PARTY_IMAGE,
        arguments=("--index", str(index), "--config", "/etc/libmpc/party.yaml"),
        networks=tuple(f"party{other}" for other in range(index, 3)),
        volumes={
            f"party{index}": ("/etc/libmpc", "ro"),
            f"shares{index}": ("/var/lib/libmpc", "rw"),
        },
        memory=2 << 30,
        environment={"LIBMPC_PARTY_HEALTH_HOST": "127.0.0.1"},
    )


def _gateway() -> Service:
    bodies = str(384 << 20)
    return Service(
        host="gateway",
        title="gateway",
        image=GATEWAY_IMAGE,
        arguments=("--config", "/etc/libmpc/gateway.yaml"),
        networks=("public", "party0", "party1", "party2"),
        volumes={"gateway": ("/etc/libmpc", "ro"), ACCESS: ("/var/lib/libmpc", "rw")},
        memory=768 << 20,
        environment={
            "LIBMPC_GATEWAY_MEMORY_BYTES": bodies,
            "LIBMPC_GATEWAY_MAX_PUSH_BYTES": bodies,
        },
    )


PUBLISHED = f"{PORT}/tcp"

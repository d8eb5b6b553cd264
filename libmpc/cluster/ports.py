"""Ports of this machine for a local deployment."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from libmpc.deployment_local import LocalPorts
from libmpc.errors import ConfigError

# Below the ports that operating systems give to outgoing connections: one of those could take a
# port while its service is being restarted, or even connect to itself.
_CANDIDATES = range(20_000, 32_000)
_NAMES = (
    "the gateway",
    *(f"party {index}" for index in range(3)),
    *(f"the probes of party {index}" for index in range(3)),
    "the probes of the gateway",
)
_COUNT = len(_NAMES)


@dataclass(frozen=True)
class Ports(LocalPorts):
    """The ports of a deployment on one machine, and the one of the gateway's probes."""

    gateway_health: int


def choose_ports(host: str, first: int | None, previous: LocalPorts | None = None) -> Ports:
    """Ports that are free now.

    Args:
        host: the address that services will bind.
        first: the gateway's port; parties and probes take the next seven. ``None``: any free ones.
        previous: what to prefer where ``first`` is ``None``, so that addresses stay.

    Raises:
        ConfigError: a port is in use, or out of range; names it and what to do.
    """
    if first is not None:
        return _following(host, first)
    if previous is not None:
        with contextlib.suppress(ConfigError):
            numbers = [previous.gateway, *previous.parties, *previous.health]
            _hold(host, zip(_NAMES[:-1], numbers, strict=True))
            return _ports([*numbers, *_free(host, 1, numbers)])
    return _ports(_free(host, _COUNT, []))


def _free(host: str, count: int, taken: list[int]) -> list[int]:
    free: list[int] = []
    for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
        if port not in taken and _is_free(host, port):
            free.append(port)
        if len(free) == count:
            return free
    raise ConfigError(f"there are not enough free ports on {host}; is the address right?")


def _following(host: str, first: int) -> Ports:
    if not 1 <= first <= 65_536 - _COUNT:
        raise ConfigError(f"--port must be from 1 to {65_536 - _COUNT}: {_COUNT} ports follow it")
    numbers = list(range(first, first + _COUNT))
    _hold(host, zip(_NAMES, numbers, strict=True))
    return _ports(numbers)


def _ports(numbers: list[int]) -> Ports:
    gateway, p0, p1, p2, h0, h1, h2, probes = numbers
    parties, health = (p0, p1, p2), (h0, h1, h2)
    return Ports(parties=parties, health=health, gateway=gateway, gateway_health=probes)


def _hold(host: str, ports: Iterable[tuple[str, int]]) -> None:
    """Bind all of them at once, and let go."""
    with contextlib.ExitStack() as stack:
        for name, number in ports:
            try:
                stack.enter_context(_bind(host, number))
            except PermissionError:
                raise ConfigError(
                    f"port {number} needs more rights than you have; take --port 1024 or above"
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"port {number} (for {name}) cannot be used on {host}: {error.strerror}; "
                    "choose another --port, or stop what is using it"
                ) from None


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port).close()
    except OSError:
        return False
    return True


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # as servers do; otherwise old connections would count as in use
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1)
    except BaseException:
        bound.close()
        raise
    return bound

"""Ports of this machine for a local deployment."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterable

from libmpc.deployment_local import LocalPorts
from libmpc.errors import ConfigError

# Below the ports that operating systems give to outgoing connections: one of those could take a
# port while its service is being restarted, or even connect to itself.
_CANDIDATES = range(20_000, 32_000)
_COUNT = 7
_NAMES = ("the gateway", *(f"{w} {i}" for w in ("party", "the probes of party") for i in range(3)))


def choose_ports(host: str, first: int | None, previous: LocalPorts | None = None) -> LocalPorts:
    """Ports that are free now.

    Args:
        host: the address that services will bind.
        first: the gateway's port; parties and probes take the next six. ``None``: any free ones.
        previous: what to prefer where ``first`` is ``None``, so that addresses stay.

    Raises:
        ConfigError: a port is in use, or out of range; names it and what to do.
    """
    if first is not None:
        return _following(host, first)
    if previous is not None:
        with contextlib.suppress(ConfigError):
            _hold(host, [previous.gateway, *previous.parties, *previous.health])
            return previous
    free: list[int] = []
    for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
        if _is_free(host, port):
            free.append(port)
        if len(free) == _COUNT:
            return _ports(free)
    raise ConfigError(f"fewer than {_COUNT} ports are free on {host}; stop something that has them")


def _following(host: str, first: int) -> LocalPorts:
    if not 1 <= first <= 65_536 - _COUNT:
        raise ConfigError(f"--port must be from 1 to {65_536 - _COUNT}: {_COUNT} ports follow it")
    numbers = list(range(first, first + _COUNT))
    _hold(host, numbers)
    return _ports(numbers)


def _ports(numbers: list[int]) -> LocalPorts:
    gateway, p0, p1, p2, h0, h1, h2 = numbers
    return LocalPorts(parties=(p0, p1, p2), health=(h0, h1, h2), gateway=gateway)


def _hold(host: str, numbers: Iterable[int]) -> None:
    """Bind all of them at once, and let go."""
    with contextlib.ExitStack() as stack:
        for name, number in zip(_NAMES, numbers, strict=True):
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

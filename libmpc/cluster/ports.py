"""Ports of this machine for a local deployment."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

from libmpc.deployment_local import LocalPorts, Three
from libmpc.errors import ConfigError

# Below the ports that operating systems give to outgoing connections: one of those could take a
# port while its service is being restarted, or even connect to itself.
_CANDIDATES = range(20_000, 32_000)
_FIRST, _EACH = 8, 6  # a gateway with its probes and a triple; a further triple


@dataclass(frozen=True)
class Ports(LocalPorts):
    """The ports of a deployment on one machine, and the one of the gateway's probes."""

    gateway_health: int


def choose_ports(
    host: str, first: int | None, previous: LocalPorts | None = None, triples: int = 1
) -> Ports:
    """Ports that are free now.

    Args:
        host: the address that services will bind.
        first: the gateway's port; parties and probes take the next seven, and six more for every
            further triple. ``None``: any free ones.
        previous: what to prefer where ``first`` is ``None``, so that addresses stay.
        triples: for how many triples.

    Raises:
        ConfigError: a port is in use, or out of range; names it and what to do.
    """
    count = _FIRST + _EACH * (triples - 1)
    if first is not None:
        return _following(host, first, count)
    if previous is not None:
        with contextlib.suppress(ConfigError):
            numbers = [previous.gateway, *previous.parties, *previous.health]
            more = [n for parts in previous.more[: triples - 1] for part in parts for n in part]
            names = [name for name in _names(triples) if name != _names(1)[-1]]
            _hold(host, zip(names, [*numbers, *more], strict=False))
            new = _free(host, count - len(numbers) - len(more), [*numbers, *more])
            return _ports([*numbers, new[0], *more, *new[1:]])
    return _ports(_free(host, count, []))


def more_ports(host: str, ports: Ports, triples: int) -> Ports:
    """The same ports, with free ones for further triples, or without those of the last ones."""
    more = ports.more[: triples - 1]
    taken = [n for parties, health in ports.triples for n in (*parties, *health)]
    taken += [ports.gateway, ports.gateway_health]
    missing = triples - 1 - len(more)
    if missing > 0:
        more = (*more, *by_triple(_free(host, _EACH * missing, taken)))
    return replace(ports, more=more)


def _names(triples: int) -> list[str]:
    """What a port is for, in the order of ``_ports``."""
    names = ["the gateway"]
    for triple in range(triples):
        suffix = f".{triple}" if triple else ""
        names += [f"party {index}{suffix}" for index in range(3)]
        names += [f"the probes of party {index}{suffix}" for index in range(3)]
        if not triple:
            names.append("the probes of the gateway")
    return names


def _free(host: str, count: int, taken: list[int]) -> list[int]:
    free: list[int] = []
    for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
        if port not in taken and _is_free(host, port):
            free.append(port)
        if len(free) == count:
            return free
    raise ConfigError(f"there are not enough free ports on {host}; is the address right?")


def _following(host: str, first: int, count: int) -> Ports:
    if not 1 <= first <= 65_536 - count:
        raise ConfigError(f"--port must be from 1 to {65_536 - count}: {count} ports follow it")
    ports = _ports(list(range(first, first + count)))
    _hold(host, zip(_names(len(ports.triples)), range(first, first + count), strict=True))
    return ports


def _ports(numbers: list[int]) -> Ports:
    gateway, p0, p1, p2, h0, h1, h2, probes = numbers[:_FIRST]
    return Ports(
        parties=(p0, p1, p2),
        health=(h0, h1, h2),
        gateway=gateway,
        gateway_health=probes,
        more=by_triple(numbers[_FIRST:]),
    )


def by_triple(numbers: list[int]) -> tuple[tuple[Three, Three], ...]:
    """Ports of parties and of their probes, three and three, in this order for each triple."""
    found = []
    for start in range(0, len(numbers), _EACH):
        p0, p1, p2, h0, h1, h2 = numbers[start : start + _EACH]
        found.append(((p0, p1, p2), (h0, h1, h2)))
    return tuple(found)


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

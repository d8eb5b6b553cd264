"""One supervisor per directory, and ports that are free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from libmpc.cluster.lock import directory_lock
from libmpc.cluster.ports import Ports, choose_ports, more_ports
from libmpc.errors import ConfigError

HOST = "127.0.0.1"


def _numbers(ports: Ports) -> list[int]:
    return [ports.gateway, *ports.parties, *ports.health, ports.gateway_health]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server((HOST, 0)) as server:
        yield int(server.getsockname()[1])


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        directory_lock(tmp_path),
        pytest.raises(ConfigError, match="another 'libmpc up'"),
        directory_lock(tmp_path),
    ):
        pass
    with directory_lock(tmp_path):
        pass


def test_free_ports_differ_and_can_be_bound() -> None:
    numbers = _numbers(choose_ports(HOST, None))
    assert len(set(numbers)) == 8
    for number in numbers:
        socket.create_server((HOST, number)).close()


def test_the_ports_of_the_last_run_are_used_again() -> None:
    first = choose_ports(HOST, None)
    again = choose_ports(HOST, None, first)
    assert (again.gateway, again.parties, again.health) == (
        first.gateway,
        first.parties,
        first.health,
    )


def test_others_where_one_of_the_last_run_is_taken(taken: int) -> None:
    previous = Ports(parties=(taken, 1, 2), health=(3, 4, 5), gateway=6, gateway_health=7)
    assert taken not in _numbers(choose_ports(HOST, None, previous))


def test_given_ports_follow_each_other() -> None:
    first = min(_numbers(choose_ports(HOST, None)))
    try:
        assert _numbers(choose_ports(HOST, first)) == list(range(first, first + 8))
    except ConfigError as error:  # one of the seven after it is taken by somebody else
        assert "cannot be used" in str(error)


def test_a_port_in_use_is_named(taken: int) -> None:
    with pytest.raises(ConfigError, match=f"port {taken} .for the gateway."):
        choose_ports(HOST, taken)


@pytest.mark.parametrize("port", [0, -1, 65_530, 70_000])
def test_ports_that_are_none(port: int) -> None:
    with pytest.raises(ConfigError, match="--port"):
        choose_ports(HOST, port)


def _all(ports: Ports) -> list[int]:
    first, *more = ports.triples
    numbers = [ports.gateway, *first[0], *first[1], ports.gateway_health]
    return numbers + [number for parts in more for part in parts for number in part]


def test_ports_of_several_triples() -> None:
    ports = choose_ports(HOST, None, triples=3)
    assert len(set(_all(ports))) == 8 + 6 + 6
    assert len(ports.triples) == 3
    again = choose_ports(HOST, None, ports, triples=3)
    assert (again.triples, again.gateway) == (ports.triples, ports.gateway)
    fewer = choose_ports(HOST, None, ports, triples=2)
    assert fewer.triples == ports.triples[:2]
    more = choose_ports(HOST, None, ports, triples=4)
    assert more.triples[:3] == ports.triples
    assert len(set(_all(more))) == 8 + 6 * 3


def test_given_ports_of_several_triples_follow_each_other() -> None:
    first = min(_all(choose_ports(HOST, None, triples=2)))
    try:
        ports = choose_ports(HOST, first, triples=2)
    except ConfigError as error:  # as above
        assert "cannot be used" in str(error)
    else:
        assert _all(ports) == list(range(first, first + 14))
        one = [ports.gateway, *ports.parties, *ports.health, ports.gateway_health]
        assert one == list(range(first, first + 8))  # as with one triple


def test_triples_come_and_go_and_the_others_keep_their_ports() -> None:
    ports = choose_ports(HOST, None)
    three = more_ports(HOST, ports, 3)
    assert (three.parties, three.gateway_health) == (ports.parties, ports.gateway_health)
    assert len(set(_all(three))) == 8 + 6 + 6
    assert more_ports(HOST, three, 1) == ports
    assert more_ports(HOST, three, 2).triples == three.triples[:2]


def test_a_port_of_a_triple_in_use_is_named(taken: int) -> None:
    with pytest.raises(ConfigError, match=rf"port {taken} .for party 2\.1."):
        choose_ports(HOST, taken - 10, triples=2)

"""One supervisor per directory, and ports that are free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from libmpc.cluster.lock import directory_lock
from libmpc.cluster.ports import Ports, choose_ports
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

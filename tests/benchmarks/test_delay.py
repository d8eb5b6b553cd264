"""The relay between parties: delays, keeps the order, and does not slow the stream down."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import libmpc
from benchmarks.delay import delayed_cluster
from libmpc import data

ROOT = Path(__file__).parents[2]
ONE_WAY = 0.1


def _echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)


@contextmanager
def echo_through(*options: str) -> Iterator[socket.socket]:
    """A connection through a relay to a server that sends everything back, and then the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "benchmarks.delay", "--to", target, *options]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as relay:
            assert relay.stdout is not None
            address = ("127.0.0.1", int(relay.stdout.readline()))
            with socket.create_connection(address, timeout=30) as connection:
                yield connection
            relay.kill()


def receive(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := connection.recv(1 << 16)):
        found += piece
    return found


def test_there_and_back_take_the_delay_twice() -> None:
    with echo_through("--ms", str(1e3 * ONE_WAY)) as connection:
        begin = time.monotonic()
        connection.sendall(b"x")
        assert receive(connection, 1) == b"x"
        assert time.monotonic() - begin >= 2 * ONE_WAY


def test_pieces_do_not_wait_for_each_other_and_stay_in_order() -> None:
    sent = b"".join(n.to_bytes(4, "big") * 250 for n in range(40))
    with echo_through("--ms", str(1e3 * ONE_WAY)) as connection:
        begin = time.monotonic()
        for start in range(0, len(sent), 1000):
            connection.sendall(sent[start : start + 1000])
            time.sleep(0.002)  # so that they are pieces of their own
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection, len(sent)) == sent
        assert connection.recv(1) == b""  # the end comes through, too
        # One after the other, forty pieces would take 40 · 2 · 0.1 s.
        assert 2 * ONE_WAY <= time.monotonic() - begin < 4


def test_a_bandwidth_is_not_exceeded() -> None:
    sent = bytes(250_000)
    with echo_through("--ms", "1", "--mbit", "10") as connection:
        begin = time.monotonic()
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        assert receive(connection, len(sent)) == sent
        sender.join()
        assert time.monotonic() - begin >= len(sent) * 8 / 10e6


def test_a_cluster_whose_parties_are_far_apart() -> None:
    model = libmpc.load_model(data.model_path("perceptron-784-500-10.keras"), input_range=(0, 1))
    x = data.digits()[0][:1].reshape(1, 784)
    with delayed_cluster(0.05) as cluster, libmpc.Client(cluster.deployment) as client:
        cluster.share(model, "far", serve=True)
        for _ in range(2):
            begin = time.monotonic()
            assert np.array_equal(client.query("far", x), model.reference(x))
            # Five rounds, in each of which a message has to get to the other party.
            assert time.monotonic() - begin >= 5 * 0.05

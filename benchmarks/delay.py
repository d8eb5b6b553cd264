"""Delay between parties: relays on this machine that every link between two parties goes through.

    python -m benchmarks.delay --to 127.0.0.1:8443 --ms 20 [--mbit 100]

prints the port that it listens on. What arrives is passed on, in order, after a fixed time (and
not faster than a bandwidth), each way. A delay does not slow the stream down: any number of pieces
may be under way. Needs no rights, unlike ``tc``; each relay is a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import libmpc
from benchmarks.environment import variable
from libmpc.cluster.ports import choose_ports
from libmpc.deployment import Deployment
from libmpc.deployment_local import make_all

_HOST = "127.0.0.1"
_PIECE = 1 << 16
_AHEAD = 4096  # pieces under way: 256 MiB, more than 20 ms of any network
_SETTING = "LIBMPC_PARTY_DEPLOYMENT"

Piece = tuple[float, bytes]


@contextlib.contextmanager
def delayed_cluster(
    seconds: float, megabits: float | None = None, triples: int = 1
) -> Iterator[libmpc.LocalCluster]:
    """A local cluster with a delay on the way from any party to another; none to the gateway.

    Args:
        seconds: one way.
        megabits: per second, each way of each link; ``None``: as fast as it goes.
        triples: how many processes each party has.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="libmpc-bench-")))
        ports = choose_ports(_HOST, None, triples=triples)
        deployment = make_all(directory / "run", ports, publish=False)
        parties = []
        for party in deployment.parties:
            relays = [
                stack.enter_context(_relay(urlsplit(url).port or 0, seconds, megabits))
                for url in party.urls
            ]
            url, *more = (f"https://{_HOST}:{port}" for port in relays)
            changes = {"url": url, "more_urls": tuple(more) or None}
            parties.append(party.model_copy(update=changes))
        far = {**dict(deployment), "parties": tuple(parties)}
        relayed = directory / "relayed.yaml"
        Deployment.model_validate(far).write(relayed)
        # The parties take this file for their own; it differs in nothing but addresses.
        stack.enter_context(variable(_SETTING, str(relayed)))
        yield stack.enter_context(libmpc.LocalCluster(directory / "run", timeout=300))


@contextlib.contextmanager
def _relay(target: int, seconds: float, megabits: float | None) -> Iterator[int]:
    """A relay in a process of its own; its port."""
    command = [sys.executable, "-m", "benchmarks.delay", "--to", f"{_HOST}:{target}"]
    command += ["--ms", str(1e3 * seconds)]
    if megabits is not None:
        command += ["--mbit", str(megabits)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def serve(listener: socket.socket, target: tuple[str, int], delay: float, rate: float) -> None:
    """Relay every connection that arrives, for ever.

    Args:
        target: where to.
        delay: seconds, each way.
        rate: bytes a second, each way of each connection; may be infinite.
    """
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(target)
        except OSError:
            near.close()
            continue
        for connection in (near, far):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((near, far), (far, near)):
            pieces: queue.Queue[Piece] = queue.Queue(_AHEAD)
            for work in (_take, _pass_on):
                _thread(work, source if work is _take else sink, pieces, delay, rate)


def _thread(*call: object) -> None:
    work, *arguments = call
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _take(source: socket.socket, pieces: queue.Queue[Piece], delay: float, rate: float) -> None:
    """Note of each piece when it has to arrive; an empty one is the end."""
    free = 0.0  # when the line has carried what came before
    while True:
        try:
            piece = source.recv(_PIECE)
        except OSError:
            piece = b""
        free = max(free, time.monotonic()) + len(piece) / rate
        pieces.put((free + delay, piece))
        if not piece:
            return


def _pass_on(sink: socket.socket, pieces: queue.Queue[Piece], delay: float, rate: float) -> None:
    while True:
        due, piece = pieces.get()
        # A thread's sleep is exact to a tenth of a millisecond; an event loop's timer is not.
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not piece:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(piece)
        except OSError:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--ms", type=float, required=True, help="delay, one way")
    parser.add_argument("--mbit", type=float, help="bandwidth in 10^6 bits a second, each way")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    rate = options.mbit * 1e6 / 8 if options.mbit else float("inf")
    with socket.create_server((_HOST, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener, (host, int(port)), options.ms / 1e3, rate)


if __name__ == "__main__":
    main()

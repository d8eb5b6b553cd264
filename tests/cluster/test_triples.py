"""Several triples as processes: exact answers from each, and no query lost with any of them."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import libmpc
from libmpc import data
from libmpc.cluster.scaling import LocalServices

IMAGES = 8
_QUERIES = re.compile(
    r'^libmpc_gateway_triple_queries_total\{triple="(\d+)"\} (\S+)$', re.MULTILINE
)


class Load(threading.Thread):
    """A client with the library's own retries, which asks without pause."""

    def __init__(self, deployment: Path, images: np.ndarray, expected: np.ndarray) -> None:
        super().__init__(daemon=True)
        self._deployment = deployment
        self._images, self._expected = images, expected
        self.stopping = threading.Event()
        self.right = self.wrong = 0
        self.errors: list[BaseException] = []
        self.longest = 0.0

    def run(self) -> None:
        with libmpc.Client(self._deployment, timeout=30) as client:
            at = 0
            while not self.stopping.is_set():
                rows = slice(at, at + IMAGES)
                at = (at + IMAGES) % len(self._images)
                begin = time.monotonic()
                try:
                    same = np.array_equal(
                        client.query("digits", self._images[rows]), self._expected[rows]
                    )
                    self.right += same
                    self.wrong += not same
                except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
                    self.errors.append(error)
                self.longest = max(self.longest, time.monotonic() - begin)


@contextmanager
def under_load(
    cluster: libmpc.LocalCluster, images: np.ndarray, expected: np.ndarray, clients: int = 3
) -> Iterator[Callable[[], int]]:
    """Clients that ask all the while; what the block gets counts their right answers."""
    loads = [Load(Path(cluster.deployment), images, expected) for _ in range(clients)]
    for load in loads:
        load.start()
    try:
        yield lambda: sum(load.right for load in loads)
    finally:
        for load in loads:
            load.stopping.set()
        for load in loads:
            load.join(60)
    longest = max(load.longest for load in loads)
    print(f"{sum(load.right for load in loads)} right, the slowest after {longest:.2f} s")
    assert [load.wrong for load in loads] == [0] * clients
    assert [error for load in loads for error in load.errors] == []


def services(cluster: libmpc.LocalCluster) -> LocalServices:
    found = cluster._supervisor
    assert isinstance(found, LocalServices)
    return found


def asked(cluster: libmpc.LocalCluster) -> dict[int, int]:
    """How many queries each triple has got, as the gateway counts them."""
    port = services(cluster)._ports.gateway_health
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {int(found[1]): int(float(found[2])) for found in _QUERIES.finditer(text)}


def wait(condition: Callable[[], Any], seconds: float = 90) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def all_asked(cluster: libmpc.LocalCluster, triples: int) -> Callable[[], bool]:
    """Whether every triple has been asked from now on."""
    before = asked(cluster)

    def more() -> bool:
        now = asked(cluster)
        return all(now.get(t, 0) > before.get(t, 0) + 2 for t in range(triples))

    return more


def kill(cluster: libmpc.LocalCluster, name: str) -> None:
    """kill -9, and wait until the gateway has seen it."""
    pid = cluster.processes[name]
    assert pid is not None
    triple = int(name.partition(".")[2] or 0)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: not services(cluster).ready()[triple])


@pytest.fixture(scope="module")
def digits() -> tuple[Any, np.ndarray, np.ndarray]:
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images, _ = data.digits()
    return model, images, model.reference(images)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_parties_added_and_removed_triples_under_load(
    tmp_path: Path, digits: tuple[Any, np.ndarray, np.ndarray]
) -> None:
    model, images, expected = digits
    with libmpc.LocalCluster(tmp_path, timeout=300) as cluster:
        cluster.share(model, "digits", serve=True)
    # An old directory grows: the new processes catch up from their own party's store.
    with libmpc.LocalCluster(tmp_path, triples=2, timeout=300) as cluster:
        assert set(cluster.processes) == {
            *(f"party {index}{suffix}" for index in range(3) for suffix in ("", ".1")),
            "gateway",
        }
        with under_load(cluster, images, expected) as right:
            wait(all_asked(cluster, 2))
            for name in ("party 1.1", "party 2", "party 0.1", "party 0"):
                kill(cluster, name)
                before = right()
                wait(lambda before=before: right() > before + 5)  # type: ignore[misc]
                wait(services(cluster).all_ready)
                wait(all_asked(cluster, 2))  # it serves again
            cluster.scale(3)
            wait(all_asked(cluster, 3))
            cluster.scale(1)
            assert asked(cluster).keys() == {0}
            before = right()
            wait(lambda: right() > before + 20)
        assert set(cluster.processes) == {"party 0", "party 1", "party 2", "gateway"}
    # And keeps what it has, with fewer or with more.
    with libmpc.LocalCluster(tmp_path, timeout=300) as cluster:
        assert services(cluster).triples == 1
        with libmpc.Client(cluster.deployment) as client:
            assert np.array_equal(client.query("digits", images), expected)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_changes_limits_and_evaluations_with_two_triples(
    tmp_path: Path, digits: tuple[Any, np.ndarray, np.ndarray]
) -> None:
    model, images, expected = digits
    labels = expected.argmax(axis=1)
    with (
        libmpc.LocalCluster(tmp_path, triples=2, timeout=300) as cluster,
        libmpc.Client(cluster.deployment, timeout=60) as client,
    ):
        served = cluster.share(model, "digits", serve=True)
        assert np.array_equal(client.query_many("digits", images, batch_size=8), expected)
        assert all(asked(cluster).values())
        score = client.evaluate("digits", images, labels, batch_size=16)
        assert score.correct == len(images)
        # Requests are counted at one place, whatever the number of triples.
        limited = cluster.share(model, "limited", serve=True, num_requests=5)
        before = asked(cluster)
        for _ in range(5):
            assert np.array_equal(client.query("limited", images[:2]), expected[:2])
        with pytest.raises(libmpc.LimitError):
            client.query("limited", images[:2])
        assert asked(cluster)[1] == before[1]
        # A model that has a limit from now on: those who know the keys of other triples learn it.
        for _ in range(4):
            client.query("digits", images[:1])
        served.serve(num_requests=4)
        for _ in range(4):
            assert np.array_equal(client.query("digits", images[:2]), expected[:2])
        with pytest.raises(libmpc.LimitError):
            client.query("digits", images[:2])
        served.serve()
        # A change while a triple is not all there.
        kill(cluster, "party 2.1")
        with libmpc.Cluster(cluster.deployment, retries=0) as owner:
            with pytest.raises(libmpc.UnavailableError, match=r"triple 1 \(party 2"):
                owner.model("digits").stop()
            wait(services(cluster).all_ready)
            with pytest.raises(libmpc.UnavailableError, match="stopped"):
                client.query("digits", images[:1])
            owner.model("digits").serve()
        assert np.array_equal(client.query_many("digits", images, batch_size=8), expected)
        limited.delete()
        assert [m.name for m in cluster.models()] == ["digits"]

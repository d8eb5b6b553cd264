"""Every service killed ten times in turn, under load: right answers or clear errors only."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import data

SERVICES = ("party 0", "party 1", "party 2", "gateway")
KILLS = 10


class Load(threading.Thread):
    """Asks without pause; keeps what came of it."""

    def __init__(self, deployment: Path, images: np.ndarray, expected: np.ndarray) -> None:
        super().__init__(daemon=True)
        self._deployment = deployment
        self._images = images
        self._expected = expected
        self.stopping = threading.Event()
        self.right = self.wrong = 0
        self.last_error = 0.0
        self.errors: list[libmpc.LibmpcError] = []
        self.longest = 0.0

    def run(self) -> None:
        with libmpc.Client(self._deployment, retries=0, timeout=20) as client:
            at = 0
            while not self.stopping.is_set():
                rows = slice(at, at + 8)
                at = (at + 8) % len(self._images)
                begin = time.monotonic()
                try:
                    logits = client.query("digits", self._images[rows])
                except libmpc.LibmpcError as error:
                    self.errors.append(error)
                    self.last_error = time.monotonic()
                    self.stopping.wait(0.1)
                else:
                    same = np.array_equal(logits, self._expected[rows])
                    self.right += same
                    self.wrong += not same
                self.longest = max(self.longest, time.monotonic() - begin)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kill_9(tmp_path: Path) -> None:
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images, _ = data.digits()
    expected = model.reference(images)
    pauses: dict[str, list[float]] = {name: [] for name in SERVICES}
    with libmpc.LocalCluster(tmp_path) as cluster:
        cluster.share(model, "digits", serve=True)
        load = Load(Path(cluster.deployment), images, expected)
        load.start()
        _wait(lambda: load.right > 5, 60)
        for name in SERVICES * KILLS:
            pid = _kill(cluster, name)
            killed = time.monotonic()
            _wait(partial(_is_back, cluster, name, pid), 30)
            _wait(partial(_has_answered, load, load.right + 5), 60)
            pauses[name].append(max(0.0, load.last_error - killed))
        load.stopping.set()
        load.join(30)
        with libmpc.Client(cluster.deployment) as client:
            assert np.array_equal(client.query("digits", images), expected)
    print({name: f"median {np.median(p):.1f} s, most {max(p):.1f} s" for name, p in pauses.items()})
    print(f"{load.right} right, {load.wrong} wrong, {len(load.errors)} errors")
    print(f"longest wait for an answer or an error {load.longest:.1f} s")
    assert load.wrong == 0
    assert load.right > 0
    unforeseen = [e for e in load.errors if not isinstance(e, libmpc.UnavailableError)]
    assert not unforeseen
    assert load.longest < 21


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_frozen_services_end_queries_in_seconds(tmp_path: Path) -> None:
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images, _ = data.digits()
    found: dict[str, tuple[float, float]] = {}
    with libmpc.LocalCluster(tmp_path) as cluster:
        cluster.share(model, "digits", serve=True)
        load = Load(Path(cluster.deployment), images, model.reference(images))
        load.start()
        for name in SERVICES:
            _wait(partial(_has_answered, load, load.right + 5), 60)
            pid = cluster.processes[name]
            assert pid is not None
            failures = len(load.errors)
            os.kill(pid, signal.SIGSTOP)
            stopped = time.monotonic()
            # A frozen gateway is the client's own timeout; the parties notice each other.
            _wait(partial(_has_failed, load, failures), 30)
            noticed = time.monotonic() - stopped
            os.kill(pid, signal.SIGCONT)
            going = time.monotonic()
            _wait(partial(_has_answered, load, load.right + 5), 60)
            found[name] = noticed, load.last_error - going
        load.stopping.set()
        load.join(30)
    for name, (noticed, recovered) in found.items():
        print(
            f"{name}: an error after {noticed:.1f} s, the last one {recovered:.1f} s after SIGCONT"
        )
    assert load.wrong == 0
    assert not [e for e in load.errors if not isinstance(e, libmpc.UnavailableError)]
    assert all(found[name][0] < 10 for name in SERVICES[:3])


def _has_failed(load: Load, before: int) -> bool:
    return len(load.errors) > before


def _kill(cluster: libmpc.LocalCluster, name: str) -> int:
    pid = cluster.processes[name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def _is_back(cluster: libmpc.LocalCluster, name: str, old: int) -> bool:
    return cluster.processes[name] not in (None, old)


def _has_answered(load: Load, often: int) -> bool:
    return load.right >= often


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "no recovery in time"
        time.sleep(0.02)

"""Networks whose correlated randomness nobody can hold, through real services."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc.graph.model import Model
from libmpc.graph.ranges import RangeReport
from tests.resnet import resnet


def made_by_hand(**shape: object) -> Model:
    plan, weights = resnet(**shape)  # type: ignore[arg-type]
    return Model(
        name="resnet",
        plan=plan,
        weights=weights,
        input_range=(0.0, 1.0),
        range=RangeReport("proven", 1.0, 0, {}),
        step_names=tuple(step.op for step in plan.steps),
    )


def images(model: Model, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(3).random((batch, *model.input_shape))


def resident(pid: int) -> int:
    """Bytes of memory of a process; what it shares with others counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


@contextmanager
def watching(pids: list[int]) -> Iterator[Callable[[], int]]:
    """The most memory that these processes took at one time."""
    most, over = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.5):
            most = max(most, sum(map(resident, pids)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most
    finally:
        over.set()
        thread.join()


def test_a_streamed_network_and_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBMPC_PARTY_STREAM_BYTES", "1000000")
    monkeypatch.setenv("LIBMPC_PARTY_STREAM_WINDOW", "65536")
    large = made_by_hand(size=32, stages=((2, 8), (1, 16)), stem=16, classes=10)
    small = made_by_hand(size=8, stages=((1, 1),), stem=1, classes=2)
    with libmpc.LocalCluster(tmp_path / "run") as cluster:
        cluster.share(large, "large", serve=True)
        cluster.share(small, "small", serve=True)
        with libmpc.Client(cluster.deployment) as client:
            for model, name in ((large, "large"), (small, "small")) * 2:
                x = images(model, 2)
                assert np.array_equal(client.query(name, x), model.reference(x))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_resnet_50(tmp_path: Path) -> None:
    model = made_by_hand()
    x = images(model)
    expected = model.reference(x)
    with libmpc.LocalCluster(tmp_path / "run") as cluster:
        pids = [pid for pid in cluster.processes.values() if pid is not None]
        with watching([*pids, os.getpid()]) as most:
            cluster.share(model, serve=True)
            with libmpc.Client(cluster.deployment, timeout=300) as client:
                begin = time.monotonic()
                answer = client.query("resnet", x)
                seconds = time.monotonic() - begin
        assert np.array_equal(answer, expected)
        assert seconds < 120
        assert most() < 10e9

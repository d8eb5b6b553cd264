"""Measuring from the client's side: what is counted, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import libmpc
from libmpc import measure
from libmpc.client import Client
from tests.client.fake import FakeDeployment, images


def test_each_query_is_counted_once(connect: Callable[..., Client], fake: FakeDeployment) -> None:
    steps: list[str] = []
    found = measure(
        connect,
        "tiny",
        images(4),
        queries=5,
        warm_up=2,
        before=lambda: steps.append("before"),
        check=lambda answer: steps.append("check"),
        progress=lambda done: steps.append(str(done)),
    )
    assert (found.batch, found.concurrency, found.queries) == (4, 1, 5)
    assert len(fake.numbers) == 7
    counted = [word for n in range(1, 6) for word in ("before", "check", str(n))]
    assert steps == ["check", "check", *counted]
    assert sum(found.latencies) <= found.seconds
    assert min(found.latencies) <= found.median <= found.quantile(0.99) <= max(found.latencies)
    assert found.samples_per_second == 20 / found.seconds


def test_clients_ask_at_the_same_time(connect: Callable[..., Client]) -> None:
    together = threading.Barrier(3, timeout=30)  # nobody goes on alone
    found = measure(connect, "tiny", images(1), concurrency=3, queries=6, before=together.wait)
    assert (found.concurrency, found.queries) == (3, 6)


def test_at_least_so_many_and_so_long(connect: Callable[..., Client]) -> None:
    found = measure(connect, "tiny", images(1), queries=3, seconds=0.2)
    assert found.queries >= 3
    assert found.seconds >= 0.2


def test_a_failing_check_ends_all(connect: Callable[..., Client], fake: FakeDeployment) -> None:
    def refuse(answer: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
        raise ValueError("not what was expected")

    with pytest.raises(ValueError, match="not what was expected"):
        measure(connect, "tiny", images(1), concurrency=2, queries=1000, warm_up=0, check=refuse)
    assert len(fake.numbers) <= 4


def test_a_failing_query_ends_all(connect: Callable[..., Client], fake: FakeDeployment) -> None:
    with pytest.raises(libmpc.InputError):
        measure(connect, "tiny", images(1) + 9, concurrency=2, seconds=60)
    assert fake.numbers == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"queries": 0},
        {"seconds": 0.0},
        {"queries": 1, "concurrency": 0},
        {"queries": 1, "warm_up": -1},
    ],
)
def test_numbers_that_make_no_sense(connect: Callable[..., Client], wrong: dict[str, int]) -> None:
    with pytest.raises(libmpc.InputError):
        measure(connect, "tiny", images(1), **wrong)

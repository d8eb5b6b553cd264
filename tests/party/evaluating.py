"""What tests of private evaluations need: samples, what is true of them, and a session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.clock import SystemClock
from tests.party.holder import CLASSES
from tests.party.test_queries import inputs, statuses
from tests.party.triple import Gateway, Triple, expected, perceptron, triple

PLAN, WEIGHTS = perceptron(outputs=CLASSES)
Body = Callable[[Triple, Gateway], Awaitable[None]]


class LateClock(SystemClock):
    """Minutes pass when a test says so."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


def samples(count: int, seed: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Inputs, and labels of which about half are what the network answers."""
    x = inputs(count, seed)
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(count) < 0.5, guesses(x), rng.integers(0, CLASSES, count))
    return x, labels


def guesses(x: NDArray[np.float64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = expected(PLAN, WEIGHTS, x).argmax(axis=1)
    return found


def matrix(x: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(found, (labels, guesses(x)), 1)
    return found


def correct(x: NDArray[np.float64], labels: NDArray[np.int64]) -> int:
    return int((guesses(x) == labels).sum())


def session(directory: Path, body: Body, clock: SystemClock | None = None, **push: object) -> None:
    """Run ``body`` with three parties that have a model."""

    async def main() -> None:
        async with triple(directory, clock=clock or SystemClock()) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS, **push)
            await body(parties, gateway)

    asyncio.run(main())


async def outcome(gateway: Gateway, query: Any) -> list[int]:
    (futures,) = await gateway.send([query])
    return await statuses(futures)

"""Many schedules, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.schedule import Outcome, run_schedule

_CHUNK = 8


def run_many(seeds: Iterable[int], workers: int | None = None) -> Iterator[Outcome]:
    """Run the schedules of these seeds, in order; by default with a process per processor."""
    count = workers or os.cpu_count() or 1
    if count == 1:
        yield from map(run_schedule, seeds)
        return
    # Spawned: a fork would take over the kernels' threads and the caller's event loop.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context) as pool:
        yield from pool.map(run_schedule, seeds, chunksize=_CHUNK)

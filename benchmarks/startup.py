"""From nothing to a deployment that answers, with and without kernels that were compiled before."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import libmpc
from benchmarks.environment import variable
from benchmarks.processes import Processes
from benchmarks.rows import Options, Row

_CACHE = "NUMBA_CACHE_DIR"


def startup(options: Options) -> Iterator[Row]:
    """Three parties and a gateway, started at the same time on this machine."""
    with tempfile.TemporaryDirectory(prefix="libmpc-bench-") as cache, variable(_CACHE, cache):
        for kind, target in (("no compiled kernels", 45), ("compiled kernels", 10)):
            begin = time.perf_counter()
            with libmpc.LocalCluster(timeout=300) as cluster:
                seconds = time.perf_counter() - begin
                processes = Processes(cluster.processes)
                figures: dict[str, Any] = {
                    "cpu_seconds": processes.cpu_seconds(),
                    "memory_mb": processes.memory(),
                }
            title = f"all services ready, started together with {kind}"
            yield Row("startup", title, seconds, "s", target, figures)


GROUPS = {"startup": startup}

"""One query and batches through a whole local deployment, next to plain numpy in the same minute.

    python benchmarks/latency.py [--queries 100] [--batches 15] [--json]

Everything is on: client, gateway, TLS, sealed envelopes, three parties, one machine. Prints medians
and 99th percentiles, the ratio to the plaintext fixed-point reference, and CPU seconds of every
process per query (Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import libmpc
from libmpc import data
from libmpc.graph.model import Model
from libmpc.runtime import plan_cost

NETWORKS = ("short-conv-mnist.h5", "perceptron-784-500-10.keras")


def timed(work: Callable[[], Any], often: int, pause: float) -> list[float]:
    """Seconds of each call; a pause between lets the pools fill."""
    seconds = []
    for _ in range(often):
        time.sleep(pause)
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return seconds


def cpu_seconds(cluster: libmpc.LocalCluster) -> dict[str, float]:
    """User and system time of each service so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = {"client": sum(os.times()[:2])}
    for name, pid in cluster.processes.items():
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            used[name] = (int(fields[11]) + int(fields[12])) / ticks
    return used


def measure(
    cluster: libmpc.LocalCluster, model: Model, x: NDArray[Any], often: int, pause: float
) -> dict[str, Any]:
    """Queries of one batch size, first warm, then counted."""
    expected = model.reference(x)
    with libmpc.Client(cluster.deployment) as client:

        def query() -> None:
            if not np.array_equal(client.query("bench", x), expected):
                raise SystemExit("a wrong answer")

        timed(query, 3, pause)
        before = cpu_seconds(cluster)
        seconds = timed(query, often, pause)
        after = cpu_seconds(cluster)
    plain = timed(lambda: model.reference(x), 9, 0)
    cost = plan_cost(model.plan, len(x))
    return {
        "network": model.name,
        "batch": len(x),
        "queries": often,
        "median_ms": 1e3 * float(np.median(seconds)),
        "p99_ms": 1e3 * float(np.quantile(seconds, 0.99)),
        "images_per_second": len(x) / float(np.median(seconds)),
        "times_plaintext": float(np.median(seconds) / np.median(plain)),
        "rounds": cost.rounds,
        "online_bytes": cost.online_bytes,
        "correction_bytes": cost.correction_bytes,
        "cpu_ms_per_query": {n: round(1e3 * (after[n] - before[n]) / often, 2) for n in after},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=100, help="queries of one image")
    parser.add_argument("--batches", type=int, default=15, help="queries of 128 images")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    images, _ = data.digits()
    rows = []
    with libmpc.LocalCluster() as cluster:
        for name in NETWORKS:
            model = libmpc.load_model(data.model_path(name), input_range=(0, 1))
            x = images.reshape(len(images), *model.input_shape)
            served = cluster.share(model, "bench", serve=True)
            rows.append(measure(cluster, model, x[:1], options.queries, 0.02))
            rows.append(measure(cluster, model, x[:128], options.batches, 0.5))
            served.delete()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if options.json:
        print(json.dumps({"machine": machine, "load": os.getloadavg(), "results": rows}, indent=1))
        return
    print(f"{machine}, load {os.getloadavg()[0]:.1f}")
    print(f"{'network':26}{'batch':>6}{'median':>10}{'p99':>10}{'images/s':>10}{'x plain':>9}")
    for row in rows:
        print(
            f"{row['network']:26}{row['batch']:6}{row['median_ms']:8.1f}ms{row['p99_ms']:8.1f}ms"
            f"{row['images_per_second']:10.0f}{row['times_plaintext']:9.1f}"
        )
        print(f"    CPU ms a query: {row['cpu_ms_per_query']}")


if __name__ == "__main__":
    main()

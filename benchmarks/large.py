"""One query of a large network through a whole local deployment: time, and memory of all processes.

    python examples/networks_torch.py resnet50       # makes resnet50.onnx
    python -m benchmarks.large resnet50.onnx [--queries 3] [--json]

Inputs are random, from 0 to 1. Answers are compared with the reference. Memory is the sum of the
processes' proportional set sizes, client included, sampled five times a second (Linux only).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import libmpc
from benchmarks.processes import Processes


@contextlib.contextmanager
def watched(processes: Processes, peaks: dict[str, float], phase: str) -> Iterator[None]:
    """Note the largest memory while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while True:
            held = sum(memory.get("pss", 0.0) for memory in processes.memory().values())
            peaks[phase] = max(peaks.get(phase, 0.0), held)
            if over.wait(0.2):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = libmpc.load_model(options.model, input_range=(0, 1), time_limit=20)
    x = np.random.default_rng(0).random((1, *model.input_shape))
    expected = model.reference(x)
    peaks: dict[str, float] = {}
    seconds = []
    with libmpc.LocalCluster() as cluster:
        processes = Processes({"client": os.getpid(), **cluster.processes})
        with watched(processes, peaks, "push"):
            begin = time.perf_counter()
            cluster.share(model, "large", serve=True)
            push = time.perf_counter() - begin
        with (
            watched(processes, peaks, "query"),
            libmpc.Client(cluster.deployment, timeout=300) as client,
        ):
            for _ in range(options.queries):
                begin = time.perf_counter()
                if not np.array_equal(client.query("large", x), expected):
                    raise SystemExit("a wrong answer")
                seconds.append(time.perf_counter() - begin)
    found = {
        "model": options.model.name,
        "range": model.range.status,
        "push_seconds": round(push, 1),
        "query_seconds": [round(s, 1) for s in seconds],
        "peak_gigabytes": {phase: round(peak / 1e3, 2) for phase, peak in peaks.items()},
    }
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:16} {value}")


if __name__ == "__main__":
    main()

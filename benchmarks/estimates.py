"""Estimates of ``libmpc explain`` against real queries, with a delay between the parties.

    python -m benchmarks.estimates [--delays 0 20 100] [--queries 20] [--json]

One image with the pools full, and batches of 128 one after the other, on this machine: the
estimates are for its cores, so only delay and bandwidth differ from profile to profile. Prints
estimated and measured milliseconds and their ratio.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from benchmarks.delay import delayed_cluster
from benchmarks.deployment import served
from benchmarks.networks import CNN, PERCEPTRON
from benchmarks.serving import Pause
from libmpc.runtime.forecast import Forecast, Network

_CORES = 2


def compare(milliseconds: float, queries: int) -> Iterator[dict[str, Any]]:
    """Rows of both networks at one delay."""
    network = Network(f"{milliseconds:g} ms", milliseconds / 1e3, float("inf"), _CORES)
    with delayed_cluster(milliseconds / 1e3) as cluster:
        for subject_of in (CNN, PERCEPTRON):
            with served(cluster, subject_of) as subject:
                forecast = Forecast(subject_of.model.plan)
                pause = Pause(subject)
                for batch in (1, 128):
                    subject.ask(batch, queries=3)
                    few = queries if batch == 1 else max(3, queries // 4)
                    before = pause if batch == 1 else subject.deployment.fill
                    measured = subject.ask(batch, queries=few, before=before).median
                    estimate = forecast.latency(batch, network).total
                    yield {
                        "network": subject_of.title,
                        "delay_ms": milliseconds,
                        "batch": batch,
                        "estimated_ms": round(1e3 * estimate, 1),
                        "measured_ms": round(1e3 * measured, 1),
                        "ratio": round(estimate / measured, 2),
                    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delays", type=float, nargs="+", default=[0.0, 20.0, 100.0], help="ms")
    parser.add_argument("--queries", type=int, default=20, help="of one image, each")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    rows = []
    for delay in options.delays:
        for row in compare(delay, options.queries):
            rows.append(row)
            if not options.json:
                print(
                    f"{row['network']:14}{row['delay_ms']:6g} ms{row['batch']:6} images"
                    f"{row['estimated_ms']:10.1f} estimated{row['measured_ms']:10.1f} measured"
                    f"{row['ratio']:8.2f}",
                    flush=True,
                )
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

"""The matrix product modulo 2^48, next to two plain ones in the same run.

    python -m benchmarks.matmul [--rounds 15] [--json]

*plain*: three loops, the innermost along a row of the second matrix, compiled by numba with its
vectors. *rows*: four rows of the second matrix at a time and blocks for the cache, which libmpc
uses for matrices of few columns. *tiles*: what it uses for all others. One thread. Prints medians
of its processor time, in 10^9 products a second, and how they compare with *plain*; packing is not
counted, since weights are packed once.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.rows import Options, Row
from libmpc.ring import MASK
from libmpc.ring.jit import IN64_2D, OUT64_2D, kernel
from libmpc.ring.linear import matmul_add as rows
from libmpc.ring.matmul import NARROW, PackedMatrix, matmul_add

SHAPES = {
    "784 x 1152 x 128": (784, 1152, 128),
    "1024 x 1024 x 1024": (1024, 1024, 1024),
    "perceptron, hidden": (1, 784, 500),
    "perceptron, 128 samples": (128, 784, 500),
    "perceptron, output": (1, 500, 10),
    "short conv, 1st": (676, 9, 10),
    "short conv, 2nd": (121, 90, 32),
    "short conv, 3rd": (9, 288, 64),
    "short conv, output": (1, 64, 10),
    "ResNet-20, 3x3 of 16": (1024, 144, 16),
    "ResNet-20, 3x3 of 64": (64, 576, 64),
    "ResNet-50, first": (12544, 147, 64),
    "ResNet-50, 1x1": (196, 256, 1024),
    "ResNet-50, output": (1, 2048, 1000),
}
_LEAST = 2e-3  # seconds between two looks at the clock


@kernel(IN64_2D, IN64_2D, OUT64_2D)
def plain(x: Any, w: Any, out: Any) -> None:
    """out += x · w, as one writes it."""
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            a = x[i, k]
            for j in range(w.shape[1]):
                out[i, j] += a * w[k, j]


def seconds(work: Callable[[], Any], often: int) -> float:
    """Processor time of one call."""
    begin = time.thread_time()
    for _ in range(often):
        work()
    return (time.thread_time() - begin) / often


def measure(shape: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Median seconds of each product, one after the other in every round; all agree."""
    n, k, m = shape
    rng = np.random.default_rng(0)
    x, w = (rng.integers(0, 2**64, size, np.uint64) for size in ((n, k), (k, m)))
    packed = PackedMatrix.of(w)
    work: dict[str, Callable[[Any], None]] = {
        "plain": lambda out: plain(x, w, out),
        "rows": lambda out: rows(x, w, out),
        "tiles": lambda out: matmul_add(x, packed, out),
    }
    outs = {name: np.zeros((n, m), np.uint64) for name in work}
    for name, product in work.items():
        product(outs[name])
        if not np.array_equal(outs[name] & MASK, outs["plain"] & MASK):
            raise RuntimeError(f"{name} gives a wrong product of shape {shape}")
    once = seconds(lambda: rows(x, w, outs["rows"]), 1)
    often = max(1, round(_LEAST / max(once, 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, product in work.items():
            taken[name].append(seconds(lambda f=product, o=outs[name]: f(o), often))  # type: ignore[misc]
    return {name: float(np.median(values)) for name, values in taken.items()}


def matmul(options: Options) -> Iterator[Row]:
    """The two large shapes have a target; of the others the slowest, against the plain loop."""
    ratios = {}
    for name, shape in SHAPES.items():
        if options.quick and np.prod(shape) > 2e8:
            continue
        taken = measure(shape, 5 if options.quick else 15)
        used = taken["rows" if shape[2] < NARROW else "tiles"]
        ratios[name] = round(taken["plain"] / used, 2)
    for name in ("784 x 1152 x 128", "1024 x 1024 x 1024"):
        if name in ratios:
            title = f"ring matmul {name}, against the plain loop, one core"
            yield Row("matmul", title, ratios[name], "×", 1.25)
    worst = min(ratios, key=lambda name: ratios[name])
    title = f"ring matmul, slowest shape ({worst}), against the plain loop"
    yield Row("matmul", title, ratios[worst], "×", 1.0, {"ratios": ratios})


GROUPS = {"matmul": matmul}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each product")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = {}
    if not options.json:
        print(f"{'10^9 products a second':26}{'plain':>8}{'rows':>8}{'tiles':>8}", end="")
        print(f"{'rows/plain':>12}{'tiles/plain':>13}{'tiles/rows':>12}")
    for name, shape in SHAPES.items():
        taken = measure(shape, options.rounds)
        speed = {kind: float(np.prod(shape)) / 1e9 / value for kind, value in taken.items()}
        ratios = {
            "rows/plain": taken["plain"] / taken["rows"],
            "tiles/plain": taken["plain"] / taken["tiles"],
            "tiles/rows": taken["rows"] / taken["tiles"],
        }
        results[name] = {"shape": shape, "seconds": taken, "ratios": ratios}
        if not options.json:
            print(f"{name:26}" + "".join(f"{v:8.2f}" for v in speed.values()), end="")
            widths = (12, 13, 12)
            print("".join(f"{v:{w}.2f}" for v, w in zip(ratios.values(), widths, strict=True)))
    if options.json:
        print(json.dumps({"machine": platform.machine(), "products": results}, indent=2))


if __name__ == "__main__":
    main()

"""How the time of a query grows with its batch and with the network, with straight lines fitted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import libmpc
from benchmarks.deployment import Subject, served
from benchmarks.networks import CNN, perceptron
from benchmarks.plot import plot
from benchmarks.rows import Options, Row
from libmpc.runtime import plan_cost

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_WIDTHS = (32, 128, 512, 2048, 8192)
_DEPTHS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Fit:
    """y = a + b·x, with the squares of relative errors made small: small sizes count as well.

    Attributes:
        fixed: a.
        each: b.
        worst: the largest relative error of a point.
    """

    fixed: float
    each: float
    worst: float

    @classmethod
    def of(cls, x: Sequence[float], y: Sequence[float]) -> Fit:
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        terms = np.stack([np.ones_like(xs), xs], axis=1) / ys[:, None]
        (fixed, each), *_ = np.linalg.lstsq(terms, np.ones_like(ys), rcond=None)
        worst = float(np.abs((fixed + each * xs) / ys - 1).max())
        return cls(float(fixed), float(each), worst)

    def at(self, x: float) -> float:
        return self.fixed + self.each * x


def growth(options: Options) -> Iterator[Row]:
    """Milliseconds by batch, by width of a hidden layer, and by number of hidden layers."""
    every = 2 if options.quick else 1
    with libmpc.LocalCluster() as cluster:
        with served(cluster, CNN) as subject:
            points = [(n, _query_ms(subject, n, options)) for n in _BATCHES[::every]]
        yield _row("by batch", f"{CNN.title}, images in a query", "image", points, options)
        points = []
        for width in _WIDTHS[::every]:
            with served(cluster, perceptron(width)) as subject:
                points.append((width, _query_ms(subject, 1, options)))
        yield _row("by width", "784-n-10, units n", "unit", points, options)
        points = []
        for depth in _DEPTHS[::every]:
            network = perceptron(128, depth)
            with served(cluster, network) as subject:
                rounds = plan_cost(network.model.plan, 1).rounds
                points.append((rounds, _query_ms(subject, 1, options)))
        yield _row("by depth", "layers of 128 units, rounds", "round", points, options)


def _query_ms(subject: Subject, batch: int, options: Options) -> float:
    """Median, with full pools before each query."""

    def refill() -> None:
        subject.deployment.fill()
        time.sleep(0.01)

    found = subject.ask(batch, queries=3 if options.quick else 9, before=refill)
    return 1e3 * found.median


def _row(name: str, what: str, one: str, points: list[tuple[int, float]], options: Options) -> Row:
    x, y = zip(*points, strict=True)
    fit = Fit.of(x, y)
    if options.plots is not None:
        folder = Path(options.plots)
        folder.mkdir(parents=True, exist_ok=True)
        svg = plot(what, "milliseconds", points, fit.at)
        (folder / f"{name.replace(' ', '-')}.svg").write_text(svg)
    figures = {
        "points": points,
        "fixed_ms": round(fit.fixed, 3),
        "ms_each": round(fit.each, 5),
        "largest_relative_error": round(fit.worst, 3),
    }
    title = (
        f"growth {name} ({what}): {fit.fixed:.3g} ms + {fit.each:.3g} ms an additional {one}, "
        f"within {100 * fit.worst:.0f} %; largest measured"
    )
    return Row("growth", title, y[-1], "ms", None, figures)


GROUPS = {"growth": growth}

"""Queries of a few networks through a whole local deployment: latency and throughput."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import libmpc
from benchmarks.deployment import Subject, served
from benchmarks.networks import CNN, PERCEPTRON, resnet
from benchmarks.rows import Options, Row, accounted

_CLIENTS = 32
_CHECK_EVERY = 25


def cnn(options: Options) -> Iterator[Row]:
    """The tutorial's network; and what the parties hold in memory while they serve it."""
    with libmpc.LocalCluster() as cluster:
        with served(cluster, CNN) as subject:
            one = single(subject, "cnn", 10, 60 if options.quick else 500)
            yield one
            yield Row("cnn", f"{CNN.title}, one image, 99th percentile", *_p99(one, 40))
            yield sustained(subject, "cnn", 450, options, batch=128, clients=2)
            yield sustained(subject, "cnn", 250, options, batch=1, clients=_CLIENTS)
            held = subject.deployment.processes.memory()
        parties = {name: held[name] for name in held if name.startswith("party")}
        largest = max(memory["resident"] for memory in parties.values())
        title = "party's resident memory, serving the CNN"
        yield Row("cnn", title, largest, "MB", 350, {"memory_mb": parties})


def perceptron(options: Options) -> Iterator[Row]:
    """One hidden layer."""
    with libmpc.LocalCluster() as cluster, served(cluster, PERCEPTRON) as subject:
        yield single(subject, "perceptron", 6, 60 if options.quick else 500)
        yield sustained(subject, "perceptron", 1200, options, batch=128, clients=2)


def residual(options: Options) -> Iterator[Row]:
    """A network of ResNet-20's size with random weights."""
    with libmpc.LocalCluster() as cluster, served(cluster, resnet()) as subject:
        yield single(subject, "resnet", 180, 5 if options.quick else 30)


def single(subject: Subject, group: str, target: float, queries: int) -> Row:
    """One image at a time, each with the pools full."""
    figures: dict[str, Any] = {}
    pause = Pause(subject)
    with accounted(subject, figures, warm_up=3) as done:
        done(subject.ask(1, queries=queries, warm_up=3, before=pause))
    figures["pause_ms"] = round(1e3 * pause.seconds, 1)
    title = f"{subject.network.title}, one image, pools full"
    return Row(group, title, figures["median_ms"], "ms", target, figures)


def sustained(
    subject: Subject, group: str, target: float, options: Options, *, batch: int, clients: int
) -> Row:
    """Queries without pauses for ten times as many images as the pools hold at the beginning."""
    figures: dict[str, Any] = {}
    subject.ask(batch, concurrency=clients, seconds=1 if options.quick else 3)
    pooled = subject.deployment.pooled_images()
    least = 2.0 if options.quick else 8.0
    with accounted(subject, figures, warm_up=1) as done:
        found = subject.ask(
            batch, concurrency=clients, queries=-(-10 * pooled // batch) or 1, seconds=least
        )
        done(found)
    figures["pooled_images_before"] = pooled
    what = f"{batch}-image queries" if batch > 1 else "one image each"
    title = f"{subject.network.title}, sustained, {clients} clients, {what}"
    return Row(group, title, figures["images_per_second"], "images/s", target, figures)


class Pause:
    """Lets the pools refill between two queries, without asking for their levels each time.

    Asking costs a party time, so the pause is found out once, from the levels after a query, and
    checked now and then.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._full = subject.deployment.pooled()
        self._asked = 0
        subject.ask(1, queries=2)
        begin = time.perf_counter()
        while self._lacking() and time.perf_counter() < begin + 10:
            time.sleep(0.005)
        self.seconds = 0.02 + 2 * (time.perf_counter() - begin)

    def __call__(self) -> None:
        time.sleep(self.seconds)
        self._asked += 1
        if self._asked % _CHECK_EVERY == 0 and self._lacking():
            self.seconds *= 1.5
            self._subject.deployment.fill()

    def _lacking(self) -> bool:
        levels = self._subject.deployment.pooled()
        return any(levels.get(key, 0) < level for key, level in self._full.items())


def _p99(row: Row, target: float) -> tuple[float, Any, float]:
    return row.figures["p99_ms"], "ms", target


GROUPS = {"cnn": cnn, "perceptron": perceptron, "resnet": residual}

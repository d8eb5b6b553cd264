"""Answers that say less: a query for a label, and how often a network is right on 10,000 digits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import libmpc
from benchmarks.deployment import NAME, Subject, served
from benchmarks.networks import CNN, PERCEPTRON, Network
from benchmarks.rows import Options, Row
from benchmarks.serving import Pause
from libmpc import data
from libmpc.graph.tail import with_output
from libmpc.outputs import parse
from libmpc.runtime import plan_cost

_SAMPLES = 10_000


def label(options: Options) -> Iterator[Row]:
    """One image at a time, asked for its label and for its logits in turn, pools full."""
    with libmpc.LocalCluster() as cluster:
        for network in (CNN, PERCEPTRON):
            with served(cluster, network) as subject:
                yield _label(subject, 60 if options.quick else 500)


def _label(subject: Subject, queries: int) -> Row:
    pause = Pause(subject)
    rounds = queries // 20
    found: dict[str, list[float]] = {"logits": [], "label": []}
    for _ in range(rounds):  # turn about, so that both see the same machine
        for output, latencies in found.items():
            asked = subject.ask(1, output, queries=20, warm_up=3, before=pause)
            latencies += asked.latencies
    plan = with_output(subject.network.model.plan, parse("label"))
    cost = plan_cost(plan, 1)
    medians = {output: round(1e3 * float(np.median(times)), 3) for output, times in found.items()}
    figures = {
        "median_ms": medians,
        "queries": 20 * rounds,
        "rounds": cost.rounds,
        "declared_bytes_each_way": cost.online_bytes,
        "declared_preprocessing_bytes": cost.correction_bytes,
    }
    title = f"{subject.network.title}, one image, label only, pools full"
    return Row("label", title, medians["label"], "ms", None, figures)


def evaluate(options: Options) -> Iterator[Row]:
    """``Client.evaluate``, from the first part to the count."""
    with libmpc.LocalCluster() as cluster:
        for network in (CNN,) if options.quick else (CNN, PERCEPTRON):
            with served(cluster, network) as subject:
                yield _evaluate(subject, network, 1_000 if options.quick else _SAMPLES)


def _evaluate(subject: Subject, network: Network, samples: int) -> Row:
    images, labels = data.digits()
    shape = network.model.input_shape
    x = np.resize(images, (samples, *images.shape[1:])).reshape(samples, *shape)
    y = np.resize(labels, samples)
    guesses = network.model.reference(images.reshape(-1, *shape)).argmax(axis=1)
    expected = int((np.resize(guesses, samples) == y).sum())
    processes = subject.deployment.processes
    before = processes.cpu_seconds()
    with libmpc.Client(subject.deployment.cluster.deployment, timeout=120) as client:
        begin = time.perf_counter()
        score = client.evaluate(NAME, x, y)
        seconds = time.perf_counter() - begin
    used = processes.cpu_seconds()
    if score.correct != expected:
        raise SystemExit(f"{network.title}: the count differs from the reference's")
    figures: dict[str, Any] = {
        "images": samples,
        "correct": score.correct,
        "images_per_second": round(samples / seconds, 1),
        "cpu_ms_per_image": {
            name: round(1e3 * (used[name] - before[name]) / samples, 3) for name in used
        },
    }
    title = f"{network.title}, private evaluation of {samples:,} images"
    return Row("evaluate", title, seconds, "s", 60.0, figures)


GROUPS = {"label": label, "evaluate": evaluate}

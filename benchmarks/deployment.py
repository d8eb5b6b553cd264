"""A local deployment with a model to be measured, and what its services tell on their ports."""

from __future__ import annotations

import contextlib
import os
import re
import time
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

import libmpc
from benchmarks.networks import Network
from benchmarks.processes import Processes
from libmpc import answers, outputs
from libmpc.client.measuring import Measurement, measure

NAME = "bench"
_POOL = "libmpc_party_pool_bundles"
_LINK = "libmpc_party_link_payload_bytes_total"
_STILL_SECONDS = 0.25
_FULL_SECONDS = 60.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Deployment:
    """A cluster, seen from outside."""

    cluster: libmpc.LocalCluster

    @property
    def processes(self) -> Processes:
        """The four services and this process, which is the client."""
        return Processes({**self.cluster.processes, "client": os.getpid()})

    @cached_property
    def _health(self) -> dict[int, str]:
        found = {}
        for index in range(3):
            text = (self.cluster.directory / f"party{index}" / "party.yaml").read_text()
            settings = yaml.safe_load(text)
            found[index] = f"http://{settings['health_host']}:{settings['health_port']}"
        return found

    def samples(self, party: int, metric: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of one of a party's metrics."""
        with urllib.request.urlopen(f"{self._health[party]}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return [
            (dict(_LABEL.findall(labels)), float(value))
            for name, labels, value in _SAMPLE.findall(text)
            if name == metric
        ]

    def pooled(self) -> dict[tuple[int, int], float]:
        """Bundles that are ready, by evaluator and batch size."""
        return {
            (party, int(labels["batch"])): value
            for party in (0, 1)
            for labels, value in self.samples(party, _POOL)
            if labels["model"] == NAME
        }

    def pooled_images(self) -> int:
        """How many images could be answered from the pools of both evaluators."""
        levels = self.pooled()
        return int(sum(batch * n for (party, batch), n in levels.items() if party == 0))

    def fill(self) -> None:
        """Wait until the pools do not grow any more."""
        deadline = time.monotonic() + _FULL_SECONDS
        levels, since = self.pooled(), time.monotonic()
        while time.monotonic() < deadline:
            time.sleep(0.02)
            now = self.pooled()
            if now != levels:
                levels, since = now, time.monotonic()
            elif time.monotonic() - since > _STILL_SECONDS:
                return

    def sent(self) -> dict[str, float]:
        """Payload bytes from party to party on the links that are up."""
        return {
            f"{party} to {labels['peer']}": value
            for party in range(3)
            for labels, value in self.samples(party, _LINK)
            if labels["direction"] == "sent"
        }


@dataclass(frozen=True)
class Subject:
    """A model that is being served, and queries whose answers are known.

    Attributes:
        deployment: where.
        network: what.
    """

    deployment: Deployment
    network: Network
    _queries: dict[int, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict, repr=False)

    def query(self, batch: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """A query of so many images and what must come back, to the last bit."""
        if batch not in self._queries:
            x = self.network.inputs(batch)
            self._queries[batch] = x, self.network.model.reference(x)
        return self._queries[batch]

    def ask(self, batch: int, output: str = "logits", **options: Any) -> Measurement:
        """``measure`` with queries of one size; an answer that is not the reference's ends it."""
        x, logits = self.query(batch)
        expected = answers.plain(outputs.parse(output), logits)

        def check(answer: answers.Answer) -> None:
            if not np.array_equal(answer, expected):
                raise SystemExit(f"{self.network.title}: an answer differs from the reference")

        def connect() -> libmpc.Client:
            return libmpc.Client(self.deployment.cluster.deployment, timeout=120)

        return measure(connect, NAME, x, check=check, output=output, **options)

    def plaintext_seconds(self, batch: int) -> float:
        """What one query takes numpy in float64, median."""
        x, _ = self.query(batch)
        seconds: list[float] = []
        end = time.perf_counter() + 0.5
        while len(seconds) < 5 or (len(seconds) < 100 and time.perf_counter() < end):
            begin = time.perf_counter()
            self.network.plaintext(x)
            seconds.append(time.perf_counter() - begin)
        return float(np.median(seconds))


@contextlib.contextmanager
def served(cluster: libmpc.LocalCluster, network: Network) -> Iterator[Subject]:
    """Share a network and serve it while the block lasts; its pools are full when it begins."""
    # Random weights have a calibrated range, which is no news here.
    warnings.filterwarnings("ignore", category=libmpc.RangeWarning)
    deployment = Deployment(cluster)
    model = cluster.share(network.model, NAME, serve=True, replace=True)
    try:
        deployment.fill()
        yield Subject(deployment, network)
    finally:
        model.delete()

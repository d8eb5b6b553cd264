"""``python -m benchmarks.chaos``: services killed, frozen and restarted in turn, under load.

Every answer is compared with the reference; every failure must be an ``UnavailableError``: a 503
of the gateway's, or, where it was the gateway that was hit, a lost connection or a timeout of the
client's own. After each blow it is measured how long full service takes to come back.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import libmpc
from benchmarks.chaos_load import Load
from libmpc import data

SERVICES = ("party 0", "party 1", "party 2", "gateway")
TARGET_SECONDS = 10.0
#: how long a service stays frozen: longer than anybody believes in it
FROZEN_SECONDS = 5.0
#: errors that still come within so many seconds of the first answers are part of the same blow
CALM_SECONDS = 2.0
NAME = "digits"


@dataclass(frozen=True)
class Blow:
    """What was done to one service, and seconds from its restart until all was well."""

    service: str
    action: str
    seconds: float


@dataclass
class Report:
    """Everything that was counted."""

    minutes: float
    blows: list[Blow] = field(default_factory=list)
    right: int = 0
    images: int = 0
    wrong: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    unforeseen: list[str] = field(default_factory=list)
    longest: float = 0.0

    @property
    def passed(self) -> bool:
        """Right answers and clear failures only, and back in time after every blow."""
        late = any(blow.seconds > TARGET_SECONDS for blow in self.blows)
        return self.right > 0 and not (self.wrong or self.unforeseen or late or not self.blows)

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "minutes": round(self.minutes, 2),
            "blows": len(self.blows),
            "answers_right": self.right,
            "images_right": self.images,
            "answers_wrong": self.wrong,
            "failures": dict(self.failures),
            "unforeseen": self.unforeseen,
            "longest_wait_seconds": round(self.longest, 2),
            "full_service_after_seconds": {
                f"{service}, {action}": {
                    "times": len(found),
                    "median": round(statistics.median(found), 2),
                    "most": round(max(found), 2),
                }
                for (service, action), found in self._by_kind()
            },
            "passed": self.passed,
        }

    def _by_kind(self) -> Iterator[tuple[tuple[str, str], list[float]]]:
        for service, action in itertools.product(SERVICES, ACTIONS):
            found = [b.seconds for b in self.blows if (b.service, b.action) == (service, action)]
            if found:
                yield (service, action), found

    def text(self) -> str:
        """For people."""
        lines = [f"{'blow':<24}{'times':>6}{'full service after':>22}{'at most':>10}"]
        for (service, action), found in self._by_kind():
            middle = statistics.median(found)
            lines.append(
                f"{f'{service}, {action}':<24}{len(found):>6}{middle:>20.1f} s{max(found):>8.1f} s"
            )
        failures = ", ".join(f"{count} {what}" for what, count in self.failures.most_common())
        lines += [
            "",
            f"{len(self.blows)} blows in {self.minutes:.1f} minutes",
            f"{self.right} answers ({self.images} images) right, {self.wrong} wrong",
            f"failures: {failures or 'none'}; unforeseen: {len(self.unforeseen)}",
            f"longest wait for an answer or an error: {self.longest:.1f} s",
            "passed" if self.passed else "FAILED",
        ]
        return "\n".join(lines + [f"  {text}" for text in self.unforeseen[:20]])


Hit = Callable[[libmpc.LocalCluster, str], float]


def kill(cluster: libmpc.LocalCluster, service: str) -> float:
    """SIGKILL; its supervisor starts it again."""
    return _end(cluster, service, signal.SIGKILL)


def restart(cluster: libmpc.LocalCluster, service: str) -> float:
    """SIGTERM, as an operator restarts it."""
    return _end(cluster, service, signal.SIGTERM)


def freeze(cluster: libmpc.LocalCluster, service: str) -> float:
    """SIGSTOP, and SIGCONT when everybody has noticed."""
    pid = _pid(cluster, service)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(FROZEN_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)
    return time.monotonic()


ACTIONS: dict[str, Hit] = {"killed": kill, "frozen": freeze, "restarted": restart}


def _end(cluster: libmpc.LocalCluster, service: str, number: signal.Signals) -> float:
    """Returns when the new process has been started."""
    old = _pid(cluster, service)
    os.kill(old, number)
    wait(lambda: cluster.processes[service] not in (None, old), 30)
    return time.monotonic()


def _pid(cluster: libmpc.LocalCluster, service: str) -> int:
    wait(lambda: cluster.processes[service] is not None, 30)
    pid = cluster.processes[service]
    assert pid is not None
    return pid


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        SystemExit: it does not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"something that takes a moment did not come within {seconds:g} s")
        time.sleep(0.02)


def run(minutes: float, clients: int, seed: int, tell: Callable[[str], None]) -> Report:
    """Start a cluster and hit it for so long; every blow is waited for, the last one too."""
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images, _ = data.digits()
    expected = model.reference(images)
    rng, report = random.Random(seed), Report(minutes)
    with libmpc.LocalCluster() as cluster:
        cluster.share(model, NAME, serve=True)
        loads = [
            Load(cluster.deployment, NAME, images, expected, seed=1000 * seed + number)
            for number in range(clients)
        ]
        for load in loads:
            load.start()
        _full_service(loads, time.monotonic())
        began = time.monotonic()
        while time.monotonic() < began + 60 * minutes:
            for action, service in _round(rng):
                since = ACTIONS[action](cluster, service)
                seconds = _full_service(loads, since)
                report.blows.append(Blow(service, action, seconds))
                tell(f"{service} {action}: full service after {seconds:.1f} s")
                if time.monotonic() > began + 60 * minutes:
                    break
        report.minutes = (time.monotonic() - began) / 60
        for load in loads:
            load.stop()
    for load in loads:
        report.right += load.right
        report.images += load.images
        report.wrong += load.wrong
        report.failures += load.failures
        report.unforeseen += load.unforeseen
        report.longest = max(report.longest, load.longest)
    return report


def _round(rng: random.Random) -> list[tuple[str, str]]:
    """Every service, in every way, once, in some order."""
    blows = list(itertools.product(ACTIONS, SERVICES))
    rng.shuffle(blows)
    return blows


def _full_service(loads: list[Load], since: float) -> float:
    """Seconds from ``since`` until every client had an answer to a query asked after it, and the
    last failure, if any came once they had."""
    wait(lambda: all(load.answered_since > since for load in loads), 120)
    answered = max(load.first_answer_after(since) for load in loads)
    time.sleep(CALM_SECONDS)  # to see whether it lasts
    return max(answered, *(load.last_failure for load in loads)) - since


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description="Kill, freeze and restart the services of a local deployment in turn, under "
        "load. Exits with 1 after a wrong answer, an unforeseen error, or more than "
        f"{TARGET_SECONDS:g} s without full service.",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--clients", type=int, default=3, help="who ask without pause (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of blows (1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    report = run(given.minutes, given.clients, given.seed, tell)
    print(json.dumps(report.document(), indent=1) if given.json else report.text())
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Tiny programs to supervise, and how to wait for something without guessing how long it takes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from libmpc.cluster.child import BackOff, Command

ROOT = Path(__file__).parents[2]
QUICK = BackOff(first=0.02, longest=0.1, healthy=60)

FOLLOWS = """
import signal, sys
from libmpc.cluster.lifeline import watch
assert watch()
print("ready", flush=True)
while True:
    signal.pause()
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


def command(name: str, code: str, log: Path | None = None) -> Command:
    """A Python program as a service."""
    environment = {"PYTHONPATH": str(ROOT)}
    return Command(name, (sys.executable, "-c", code), log, environment)


def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until something is so, and fail when it does not happen."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended (one that nobody has reaped has)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        # Gone in between, or a system without /proc, which has no other way to tell.
        return not Path("/proc/self/stat").exists()
    return state not in "ZX"


class Reports:
    """What a supervisor has said."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        with self._lock:
            self._lines.append((name, line))

    def of(self, name: str) -> list[str]:
        """The lines about one service."""
        with self._lock:
            return [line for who, line in self._lines if who == name]

    def count(self, name: str, text: str) -> int:
        """How many lines about a service have a text in them."""
        return sum(text in line for line in self.of(name))

"""Several services, kept running together and stopped together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from libmpc.cluster.child import BackOff, Child, Command, Report
from libmpc.errors import ServiceError

STOP_SECONDS = 3.5
MAX_ERRORS = 5
_POLL_SECONDS = 0.2
_TAIL_LINES = 15


class Supervisor:
    """Starts services, restarts those that die, and stops all of them.

    Args:
        commands: the services, in the order in which they are started.
        report: told of every start and end.
        back_off: the pauses between restarts.
    """

    def __init__(
        self, commands: Iterable[Command], report: Report, back_off: BackOff | None = None
    ) -> None:
        self._report = report
        self._back_off = back_off
        self._children = [Child(command, report, back_off) for command in commands]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def processes(self) -> dict[str, int | None]:
        """Each service's process id by its name; ``None`` for one that is not running now."""
        return {child.name: child.pid for child in self._children}

    def start(self) -> None:
        """Start all of them."""
        for child in self._children:
            child.start()

    def add(self, commands: Iterable[Command]) -> None:
        """Start further services."""
        for command in commands:
            child = Child(command, self._report, self._back_off)
            self._children.append(child)
            child.start()

    def remove(self, names: Iterable[str]) -> None:
        """Stop some services for good."""
        wanted = set(names)
        gone = [child for child in self._children if child.name in wanted]
        self._children = [child for child in self._children if child.name not in wanted]
        _stop(gone, STOP_SECONDS)

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until ``ready()``.

        Raises:
            ServiceError: not within ``timeout`` seconds, or a service keeps failing; has the end
                of its log, where it has one.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            failing = next((c for c in self._children if c.errors >= MAX_ERRORS), None)
            if failing is not None:
                raise ServiceError(f"{failing.name} does not start{_tail(failing)}")
            if time.monotonic() > deadline:
                down = [c.name for c in self._children if c.pid is None]
                what = f"{', '.join(down)} not running" if down else "all processes run"
                logs = "".join(map(_tail, self._children))
                raise ServiceError(f"not ready within {timeout:g} s ({what}){logs}")
            time.sleep(_POLL_SECONDS)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop all of them: ask first, and end what still runs after ``timeout`` seconds."""
        _stop(self._children, timeout)


def _stop(children: Sequence[Child], timeout: float) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + timeout
    for child in children:
        if not child.join(max(0.0, deadline - time.monotonic())):
            child.kill()
    for child in children:
        child.join(1.0)


def _tail(child: Child) -> str:
    """The end of what a service has printed, if it went to a file."""
    if child.log is None:
        return ""
    try:
        lines = child.log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    last = [f"  {line}" for line in lines[-_TAIL_LINES:]]
    return "\n".join(["", f"the end of {child.log}:", *last]) if last else ""

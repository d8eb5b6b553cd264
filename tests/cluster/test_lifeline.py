"""Children end with their parent, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libmpc.cluster import lifeline
from tests.cluster.programs import DEAF, FOLLOWS, ROOT, is_running, until

SUPERVISES = """
import signal, sys
from libmpc.cluster.child import Command
from libmpc.cluster.supervisor import Supervisor
def report(name, line):
    print(name, line, flush=True)
commands = [Command(n, (sys.executable, "-c", sys.argv[1])) for n in "ab"]
supervisor = Supervisor(commands, report)
supervisor.start()
while True:
    signal.pause()
"""
ASYNC = """
import asyncio
from libmpc.cluster.lifeline import watch
async def main():
    stop = asyncio.Event()
    assert watch(stop.set)
    print("ready", flush=True)
    await stop.wait()
    print("stopped in order", flush=True)
asyncio.run(main())
"""
HANGS = """
import signal
from libmpc.cluster.lifeline import watch
signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert watch(grace=0.2)
print("ready", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def _python(code: str, *arguments: str, follow: bool = False) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if follow:
        environment[lifeline.VARIABLE] = "0"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _close_stdin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def _read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    assert text in lines[-1]
    return lines


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_when_their_supervisor_is_killed(how: signal.Signals) -> None:
    with _python(SUPERVISES, FOLLOWS) as supervisor:
        lines: list[str] = []
        while sum("ready" in line for line in lines) < 2:
            lines += _read_until(supervisor, "ready")
        pids = [int(line.split()[-1].rstrip(")")) for line in lines if "process" in line]
        assert len(pids) == 2
        assert all(map(is_running, pids))
        supervisor.send_signal(how)
        supervisor.wait()
        until(lambda: not any(map(is_running, pids)))


def test_a_child_ends_with_sigterm_by_default() -> None:
    with _python(FOLLOWS, follow=True) as child:
        _read_until(child, "ready")
        _close_stdin(child)
        assert child.wait(30) == -signal.SIGTERM


def test_a_service_stops_in_order_on_its_own_loop() -> None:
    with _python(ASYNC, follow=True) as child:
        _read_until(child, "ready")
        _close_stdin(child)
        _read_until(child, "stopped in order")
        assert child.wait(30) == 0


def test_one_that_hangs_ends_all_the_same() -> None:
    with _python(HANGS, follow=True) as child:
        _read_until(child, "ready")
        _close_stdin(child)
        assert child.wait(30) == 1


def test_without_a_lifeline_nothing_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lifeline.VARIABLE, raising=False)
    assert not lifeline.watch()
    monkeypatch.setenv(lifeline.VARIABLE, "nonsense")
    assert not lifeline.watch()


def test_a_process_that_does_not_follow_stays() -> None:
    """The tests above cannot pass because of the pipe alone."""
    with _python(DEAF) as child:
        _read_until(child, "ready")
        _close_stdin(child)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)

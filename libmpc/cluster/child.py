"""One service as a process of this machine: started, watched, and started again when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from libmpc.cluster import lifeline

Report = Callable[[str, str], None]
"""Gets a service's name and a line: what it printed, or what became of it."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class BackOff:
    """The pauses between restarts.

    Attributes:
        first: seconds before the first restart; every further one waits twice as long.
        longest: the longest pause.
        healthy: a process that ran for so many seconds begins anew at ``first``.
    """

    first: float = 0.1
    longest: float = 5.0
    healthy: float = 5.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True)
class Command:
    """What to run.

    Attributes:
        name: what people call it, such as ``party 0``.
        argv: the program and its arguments.
        log: the file that gets what it prints; ``None``: it goes to ``Report``, line by line.
        environment: variables besides our own.
    """

    name: str
    argv: tuple[str, ...]
    log: Path | None = None
    environment: Mapping[str, str] | None = None


class Child:
    """Keeps one command running until it is told to stop.

    Args:
        command: what to run.
        report: told of every start and end, and of what is printed where there is no log file.
        back_off: the pauses between restarts.
    """

    def __init__(self, command: Command, report: Report, back_off: BackOff | None = None) -> None:
        self.name = command.name
        self.log = command.log
        self._command = command
        self._report = report
        self._back_off = back_off or BackOff()
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = 0
        self._thread = threading.Thread(target=self._run, name=f"keep {self.name}", daemon=True)

    def start(self) -> None:
        """Start it, and a thread that keeps it running."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Its process id; ``None`` while it is not running."""
        with self._guard:
            process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @property
    def errors(self) -> int:
        """How often it has ended by itself with an error since it last ran for a while."""
        return self._errors

    def terminate(self) -> None:
        """Ask it to stop, and do not start it again."""
        self._stopping.set()
        self._signal("terminate")

    def kill(self) -> None:
        """End it at once, and do not start it again."""
        self._stopping.set()
        self._signal("kill")

    def join(self, timeout: float) -> bool:
        """Wait until it has ended; says whether it has."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _signal(self, how: str) -> None:
        # The process is reaped under the same lock, so the number is still its own.
        with self._guard:
            if self._process is not None and self._process.returncode is None:
                getattr(self._process, how)()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            begin = time.monotonic()
            reason, by_itself = self._once()
            if self._stopping.is_set():
                return
            if time.monotonic() - begin >= self._back_off.healthy:
                failures = self._errors = 0
            failures += 1
            self._errors += by_itself
            pause = self._back_off.pause(failures)
            self._report(self.name, f"{reason}; starting it again in {pause:.3g} s")
            self._stopping.wait(pause)

    def _once(self) -> tuple[str, bool]:
        """Run it until it ends: how it ended, and whether that was an error of its own."""
        try:
            process = self._spawn()
        except OSError as error:
            return f"cannot be started ({error.strerror})", True
        if process is None:
            return "is to stop", False
        self._report(self.name, f"started (process {process.pid})")
        printing = threading.Thread(target=self._print, args=(process,), daemon=True)
        printing.start()
        while self._poll(process) is None:
            time.sleep(_POLL_SECONDS)
        if process.stdin is not None:
            process.stdin.close()
        printing.join(1.0)
        code = process.returncode
        if code < 0:
            return f"was ended by {_signal_name(-code)}", False
        return f"ended by itself (exit status {code})", True

    def _poll(self, process: subprocess.Popen[bytes]) -> int | None:
        with self._guard:
            return process.poll()

    def _print(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._report(self.name, line.decode(errors="replace").rstrip())

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        command = self._command
        environment = {
            **os.environ,
            **(command.environment or {}),
            "PYTHONUNBUFFERED": "1",
            lifeline.VARIABLE: "0",  # its standard input
        }
        with contextlib.ExitStack() as stack, self._guard:
            if self._stopping.is_set():
                return None
            output: int | IO[bytes] = subprocess.PIPE
            if command.log is not None:
                output = stack.enter_context(command.log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603
                command.argv,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C is for the supervisor, which then stops its children in order.
                start_new_session=True,
            )
            return self._process


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

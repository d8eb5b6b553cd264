"""What the kernel says of the services' processes: processor time and memory (Linux only)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # see proc(5), clear_refs


@dataclass(frozen=True)
class Processes:
    """Processes by name, such as ``{"party 0": 4711}``; ``None`` for one that is not running."""

    pids: Mapping[str, int | None]

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time since each process began; steps of 10 ms."""
        found = {}
        for name, stat in self._read("stat"):
            fields = stat.rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / _TICKS
        return found

    def reset_peaks(self) -> None:
        """Let ``memory`` tell of the largest memory from now on."""
        for pid in self.pids.values():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)

    def memory(self) -> dict[str, dict[str, float]]:
        """Megabytes by process: the largest resident set, the one now, the proportional one now.

        Pages that several processes share count in full in ``peak`` and ``resident``, and in parts
        in ``pss``, whose sum is what the machine needs for all of them.
        """
        found = {}
        for name, status in self._read("status"):
            found[name] = {
                "peak": _megabytes(status, "VmHWM:"),
                "resident": _megabytes(status, "VmRSS:"),
            }
        for name, rollup in self._read("smaps_rollup"):
            if name in found:
                found[name]["pss"] = _megabytes(rollup, "Pss:")
        return found

    def _read(self, file: str) -> list[tuple[str, str]]:
        """That file of every process that is there."""
        found = []
        for name, pid in self.pids.items():
            with contextlib.suppress(OSError):
                found.append((name, Path(f"/proc/{pid}/{file}").read_text()))
        return found


def _megabytes(text: str, field: str) -> float:
    for line in text.splitlines():
        if line.startswith(field):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0

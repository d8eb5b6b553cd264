"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from libmpc import __version__

_PACKAGES = ("numpy", "numba", "cryptography", "h2", "uvicorn", "uvloop", "httpx")


def describe() -> dict[str, Any]:
    """Processor, memory, system, versions, and how busy the machine is just now."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libmpc": __version__,
        "packages": {name: _version(name) for name in _PACKAGES},
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def sentence(machine: dict[str, Any]) -> str:
    """The same for people, in one line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['kernel']}, {machine['python']}, libmpc {machine['libmpc']}, "
        f"load before {machine['load'][0]}"
    )


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

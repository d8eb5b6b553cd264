"""Builds of libmpc to run beside this one: the next minor version, and the one before.

A build is a directory with ``libmpc`` and ``services`` in it, run by ``PYTHONPATH``.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from libmpc._version import __version__
from libmpc.link.hello import WireVersions
from tests.upgrade import next_minor

ROOT = Path(__file__).parents[2]
PACKAGES = ("libmpc", "services")
#: the last build whose gateways know one process of each party
PREVIOUS = "4eb518f653f40bfd6faf80e4d7ba4c114cc8e245"


@dataclass(frozen=True)
class Build:
    """One build.

    Attributes:
        name: what it is called in messages.
        path: its directory.
        version: what its services say.
    """

    name: str
    path: Path
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """Has a Python of this environment run this build, and nothing of another."""
        return {"PYTHONPATH": str(self.path)}

    def run(self, *arguments: str) -> str:
        """``libmpc ARGUMENTS``, of this build; what it prints."""
        return self._python("-m", "libmpc", *arguments)

    def python(self, code: str) -> str:
        """Python code with this build's libmpc; what it prints."""
        return self._python("-c", code)

    def _python(self, *arguments: str) -> str:
        done = subprocess.run(
            (sys.executable, "-P", *arguments),
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (self.name, arguments, done.stdout, done.stderr)
        return done.stdout


def this_build() -> Build:
    """The code that is tested."""
    return Build("this build", ROOT, __version__)


def next_build(directory: Path) -> Build:
    """A copy of the code with what a later minor version may change; see ``next_minor``."""
    for package in PACKAGES:
        # With times and compiled kernels, which are then used as they are.
        shutil.copytree(ROOT / package, directory / package)
    version = ".".join((*__version__.split(".")[:1], "99", "0"))
    next_minor.apply(directory, version, WireVersions().highest)
    return Build("the next build", directory, version)


def previous_build(directory: Path) -> Build | None:
    """The build before this one, where the history of the repository is at hand."""
    command = ("git", "-C", str(ROOT), "archive", PREVIOUS, *PACKAGES)
    try:
        packed = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    _share_kernels(directory)
    text = (directory / "libmpc" / "_version.py").read_text()
    found = re.search(r' = "(.+)"', text)
    assert found is not None
    return Build("the build before", directory, found.group(1))


def _share_kernels(directory: Path) -> None:
    """Where a file of kernels is the same to the byte, what was compiled of ours will do."""
    for theirs in directory.glob("libmpc/**/*.py"):
        ours = ROOT / theirs.relative_to(directory)
        if not ours.exists() or ours.read_bytes() != theirs.read_bytes():
            continue
        stat = ours.stat()
        os.utime(theirs, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        for kernel in ours.parent.glob(f"__pycache__/{ours.stem}.*.nb[ic]"):
            (theirs.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(kernel, theirs.parent / "__pycache__" / kernel.name)

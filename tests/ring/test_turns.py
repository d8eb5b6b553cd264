"""Processes that start together compile a kernel once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from libmpc.ring.turns import turn

ROOT = Path(__file__).parents[2]

KERNEL = """\
import numpy as np

from libmpc.ring.jit import U64, kernel


@kernel(U64)
def double(x):
    return x * np.uint64(2)
"""
STARTER = """\
import libmpc.ring.jit
input()
from a_kernel import double
print(double(4), sum(double.stats.cache_misses.values()), sum(double.stats.cache_hits.values()))
"""
HOLDER = """\
import sys
from pathlib import Path
from libmpc.ring.turns import turn
with turn(Path(sys.argv[1]), "k"):
    print(flush=True)
    input()
"""


def python(program: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), environment.pop("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **environment, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has its turn."""
    with python(HOLDER, folder) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield holder
        holder.kill()


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="nothing is compiled")
def test_one_of_three_compiles(tmp_path: Path) -> None:
    (tmp_path / "a_kernel.py").write_text(KERNEL)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    with ExitStack() as stack:
        starters = [stack.enter_context(python(STARTER, **cache)) for _ in range(3)]
        for starter in starters:
            assert starter.stdin is not None
            starter.stdin.write("\n")
            starter.stdin.flush()
        found = [starter.communicate()[0].split() for starter in starters]
    assert sorted(found) == [["8", "0", "1"], ["8", "0", "1"], ["8", "1", "0"]]


def test_a_turn_ends_with_its_process(tmp_path: Path) -> None:
    with held(tmp_path) as holder:
        holder.kill()
        holder.wait()
        with turn(tmp_path, "k", patience=60):
            pass  # at once: a test that waited would be ended after less


def test_nobody_waits_for_ever_for_a_process_that_is_stuck(tmp_path: Path) -> None:
    with held(tmp_path), turn(tmp_path, "k", patience=0.05):
        pass


def test_another_kernel_does_not_wait(tmp_path: Path) -> None:
    with held(tmp_path), turn(tmp_path, "another", patience=3600):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with turn(tmp_path, "k"), turn(tmp_path / "new", "k"):
        pass


def test_no_folder_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with turn(tmp_path / "file", "k"):
        pass

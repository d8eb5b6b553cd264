"""The kernels are ordinary Python: their small tests pass without the compiler."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_small_tests_without_compiler() -> None:
    files = [
        "tests/ring/test_linear.py",
        "tests/ring/test_matmul.py",
        "tests/protocol/test_compare_tables.py",
        "tests/protocol/test_linear_steps.py",
    ]
    result = subprocess.run(
        # Scalars of numpy warn when they wrap around, which is what a ring does.
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-W", "ignore:overflow:RuntimeWarning", *files),
        ],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout

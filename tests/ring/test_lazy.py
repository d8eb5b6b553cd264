"""Kernels are loaded at their first use, once, and what needs none does without the compiler."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

from libmpc import data
from libmpc.ring.lazy import lazy_modules

SLOW = """\
import time
LOADED.append(1)
first = 1
for _ in range(1000):
    time.monotonic()
last = 2
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"lazy_{request.node.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("loaded = []\n")
    (folder / "slow.py").write_text(f"from {name} import loaded as LOADED\n{SLOW}")
    (folder / "broken.py").write_text(
        f"from {name} import loaded\nif not loaded: 1 / 0\nright = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import_module(name)
    return name


def test_a_module_is_loaded_at_its_first_use_and_once(package: str) -> None:
    parent = sys.modules[package]
    lazy_modules(package, "slow")
    slow = import_module(f"{package}.slow")
    assert parent.slow is slow
    assert not parent.loaded
    assert not hasattr(slow, "__wrapped__")  # what debuggers and decorators look for
    assert not parent.loaded
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: slow.last, range(64)))
    assert found == [2] * 64
    assert parent.loaded == [1]
    with pytest.raises(AttributeError, match=r"slow.*nothing"):
        _ = slow.nothing


def test_what_fails_to_load_is_tried_again(package: str) -> None:
    lazy_modules(package, "broken")
    broken = import_module(f"{package}.broken")
    with pytest.raises(ZeroDivisionError):
        _ = broken.right
    sys.modules[package].loaded.append(1)
    assert broken.right == 1


def test_costs_are_known_without_the_compiler() -> None:
    code = (
        "import sys; from libmpc.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code\n"
        "assert 'libmpc.runtime.cost' in sys.modules\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('numba', 'llvmlite')]\n"
        "assert not loaded, loaded[:3]"
    )
    command = [sys.executable, "-c", code, "explain", str(data.model_path("short-conv-mnist.h5"))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

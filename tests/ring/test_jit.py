"""The door to numba."""

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

from libmpc.ring import jit


def double(x: Any) -> Any:
    return x * np.uint64(2)


class Readonly:
    """A numba whose cache has no place to be written to."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.calls: list[bool] = []

    def njit(self, signatures: object = None, *, cache: bool = False, **options: Any) -> Any:
        self.calls.append(cache)

        def decorate(function: Any) -> Any:
            if cache:
                raise RuntimeError(self.message)
            return function

        return decorate


def test_an_installation_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = Readonly("cannot cache function 'double': no locator available for file 'x.py'")
    monkeypatch.setattr(jit, "_numba", numba)
    assert jit.kernel(jit.U64)(double) is double
    assert numba.calls == [True, False]


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "_numba", Readonly("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        jit.kernel(jit.U64)(double)


def test_compiled_kernels_are_loaded_without_the_compiler() -> None:
    """What numba compiles with takes longer to import than all kernels together."""
    code = "from libmpc.runtime import warm_up; warm_up()"
    ask = "import sys; print('numba.np.arraymath' in sys.modules)"
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    run([sys.executable, "-c", code])  # compiles what is not in the cache yet
    assert run([sys.executable, "-c", f"{code}; {ask}"]).stdout == "False\n"


def test_another_numba_without_its_private_names_compiles() -> None:
    class Dispatcher:
        def __init__(self) -> None:
            self.overloads: dict[Any, Any] = {}

    assert jit._load(Dispatcher(), (jit.U64,)) is False

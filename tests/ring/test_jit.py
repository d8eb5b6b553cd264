"""The door to numba."""

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

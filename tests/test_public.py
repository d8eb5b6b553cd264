"""The names that ``import libmpc`` promises, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import libmpc

HEAVY = {"numpy", "numba", "h5py", "httpx", "cryptography", "pydantic", "yaml"}


def imported_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported after some code."""
    program = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", libmpc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(libmpc, name) is not None
    assert name in dir(libmpc)


def test_homes_and_names_agree() -> None:
    assert set(libmpc._HOME) | {"__version__"} == set(libmpc.__all__)
    for name, home in libmpc._HOME.items():
        found = getattr(libmpc, name)
        assert found.__module__ == f"libmpc.{home}"


def test_every_error_is_public() -> None:
    from libmpc import errors

    kinds = {
        n
        for n, v in vars(errors).items()
        if isinstance(v, type) and v.__module__ == errors.__name__
    }
    assert kinds <= set(libmpc.__all__)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        libmpc.nonsense  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    assert not imported_after("import libmpc") & HEAVY


def test_a_client_needs_no_compiler_and_no_importer() -> None:
    modules = imported_after("import libmpc; libmpc.Client; libmpc.AsyncClient")
    assert not modules & {"numba", "h5py"}
    assert "httpx" in modules
    assert not {m for m in modules if m.startswith(("libmpc.protocol", "libmpc.graph"))}


def test_serving_needs_no_compiler_and_no_importer() -> None:
    modules = imported_after("import libmpc; libmpc.Cluster; libmpc.ServedModel")
    assert not modules & {"numba", "h5py"}


def test_loading_a_file_of_keras_needs_no_compiler_and_no_framework() -> None:
    code = (
        "import libmpc; from libmpc import data; "
        "libmpc.load_model(data.model_path('short-conv-mnist.h5'), (0, 1))"
    )
    assert not imported_after(code) & {"keras", "numba", "onnx", "tensorflow", "torch"}


def test_arrays_by_hand_need_no_compiler() -> None:
    code = "import libmpc; a, b = libmpc.split(libmpc.encode([1.5])); libmpc.reconstruct(a, b)"
    assert not imported_after(code) & {"numba", "h5py", "httpx", "pydantic"}

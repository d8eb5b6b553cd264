"""Which importer reads what, and the two faces of load_model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import libmpc.graph.model
from libmpc.errors import InputError, ModelError
from libmpc.graph import loading
from libmpc.graph.loading import around, read_file, read_module
from libmpc.graph.model import load_model
from libmpc.graph.nodes import Graph
from tests.graph.naive import Sketch


class Module:
    """Stands for a PyTorch module."""


def sketch() -> Graph:
    return Sketch((3,)).dense(2).graph


def test_around_rounds_outwards() -> None:
    assert around(np.array([[0.02, 0.97]])) == (0.0, 1.0)
    assert around([-2.1, 0.5]) == (-3.0, 1.0)
    with pytest.raises(InputError, match="input_range="):
        around(np.zeros((1, 3)))


@pytest.mark.parametrize("ending", ["pt", "PTH", "pkl", "ckpt"])
def test_pickles_are_not_opened(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ModelError, match=f"model.{ending}.*are not opened; load the module"):
        read_file(tmp_path / f"model.{ending}")


def test_what_is_no_model() -> None:
    with pytest.raises(ModelError, match="from dict; give the path"):
        read_module({"weights": 1}, np.zeros((1, 3)))
    with pytest.raises(ModelError, match="not-there"):
        load_model("not-there.h5", (0, 1))


def test_a_module_needs_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libmpc.graph.torch.is_module", lambda thing: True)
    with pytest.raises(InputError, match="load_model\\(module, example_input\\)"):
        load_model(Module(), None)


def test_two_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libmpc.graph.model, "read_file", lambda path: sketch())
    monkeypatch.setattr(libmpc.graph.model, "read_module", lambda module, example: sketch())
    assert loading.read_file is not libmpc.graph.model.read_file
    file = [load_model("a/b.onnx", (0, 2)), load_model("a/b.onnx", input_range=(0, 2))]
    assert {(m.name, m.input_range) for m in file} == {("b", (0.0, 2.0))}
    example = np.array([[0.5, -0.5, 1.5]])
    module = [
        load_model(Module(), example),
        load_model(Module(), example, (-1, 2)),
        load_model(Module(), example, input_range=(-1, 2)),
        load_model(Module(), example_input=example),
    ]
    assert {(m.name, m.input_range) for m in module} == {("Module", (-1.0, 2.0))}
    with pytest.raises(TypeError, match="too many"):
        load_model("b.onnx", (0, 1), (0, 1))  # type: ignore[call-overload]
    with pytest.raises(InputError, match="range"):
        load_model("b.onnx")  # type: ignore[call-overload]

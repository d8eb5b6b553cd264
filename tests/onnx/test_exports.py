"""Files that PyTorch's two exporters and Keras wrote, against what the framework answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import libmpc
from libmpc.graph import nodes
from libmpc.graph.floating import apply_final, run_float
from libmpc.graph.onnx import read_onnx, read_onnx_bytes
from libmpc.simulation import Simulation

DATA = Path(__file__).parent / "data"
FILES = sorted(DATA.glob("*.onnx"))
ANSWERS = np.load(DATA / "answers.npz")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_graph_is_the_frameworks_network(path: Path) -> None:
    graph = read_onnx(path)
    x, y = (ANSWERS[f"{path.stem}/{name}"].astype(np.float64) for name in "xy")
    made = run_float(graph, x)
    last = graph.nodes[-1]
    if isinstance(last, nodes.Final):
        made = np.asarray(apply_final(last.kind, made, last.axis))
    np.testing.assert_allclose(made, y, atol=1e-6)
    assert graph.shapes[graph.nodes[0].name] == x.shape[1:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shares_answer_as_the_framework_does(path: Path) -> None:
    x, y = (ANSWERS[f"{path.stem}/{name}"].astype(np.float64) for name in "xy")
    model = libmpc.load_model(path, (0, 1))
    assert model.range.status == "proven"
    made = Simulation(model).query(x)
    assert np.array_equal(made, model.reference(x))
    final = np.asarray(apply_final(model.final_activation, made, model.final_axis))
    np.testing.assert_allclose(final, y, atol=2e-3)


def test_both_exporters_give_one_network() -> None:
    for path in DATA.glob("torch_script_*.onnx"):
        other = DATA / path.name.replace("script", "dynamo")
        x = ANSWERS[f"{path.stem}/x"].astype(np.float64)
        np.testing.assert_allclose(
            run_float(read_onnx(path), x), run_float(read_onnx(other), x), atol=1e-6
        )


def test_bytes_are_read_like_a_file() -> None:
    for path in FILES[:2]:
        one, other = read_onnx(path), read_onnx_bytes(path.read_bytes())
        assert [repr(n) for n in one.nodes] == [repr(n) for n in other.nodes]


def test_the_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir() if path.is_file()) < 300_000

"""Small networks from Keras' files, in fixed point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libmpc.graph.floating import run_float
from libmpc.graph.keras import read_keras
from libmpc.graph.model import load_model
from tests.graph.keras_networks import NETWORKS
from tests.graph.real_keras import randomise

# Of Keras' own code, for this version of numpy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")


@pytest.mark.parametrize("name", NETWORKS)
def test_fixed_point_is_close(tmp_path: Path, name: str) -> None:
    model = NETWORKS[name]()
    randomise(model, 1)
    path = tmp_path / "m.keras"
    model.save(path)
    loaded, graph = load_model(path, (0, 1)), read_keras(path)
    rng = np.random.default_rng(2)
    x = rng.random((4, *model.input_shape[1:])) * rng.random((4, 1, 1, 1))
    logits = run_float(graph, x)
    error = np.abs(loaded.reference(x) - logits).max()
    assert error < 2e-3 * max(1.0, np.abs(logits).max())
    assert np.ptp(logits, axis=0).max() > 100 * error
    assert (loaded.final_activation == "softmax") == (name in ("lenet", "resnet"))

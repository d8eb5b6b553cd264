"""Keras itself, which tests compare with; on numpy, which compiles nothing for layers this small."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from libmpc.graph.floating import apply_final, run_float
from libmpc.graph.keras import read_keras
from libmpc.graph.nodes import Final, Graph

os.environ["KERAS_BACKEND"] = "numpy"
# A developer's own settings, and a folder in the home directory, are not wanted here.
os.environ["KERAS_HOME"] = str(Path(tempfile.gettempdir()) / "libmpc-keras")

logging.getLogger("absl").setLevel(logging.ERROR)  # that .h5 is an old format
keras: Any = pytest.importorskip("keras")
layers: Any = keras.layers


def randomise(model: Any, seed: int) -> None:
    """Weights with every sign and size that trained ones may have; variances stay positive."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if not np.issubdtype(np.asarray(variable).dtype, np.floating):
            continue
        values = rng.normal(0, 0.5, variable.shape)
        if "variance" in variable.path:
            values = rng.uniform(0.25, 2, variable.shape)
        elif "kernel" in variable.path:
            values /= np.sqrt(max(1, np.prod(variable.shape[:-1]))) * 0.5
        variable.assign(values.astype("f4"))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # Normalization computes with copies
            layer.finalize_state()


def samples(shape: tuple[int, ...], seed: int, batch: int = 3) -> NDArray[np.float64]:
    """Inputs that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (batch, *shape)).astype("f4").astype("f8")


def answer(graph: Graph, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the graph answers in float64, with what is left to the client."""
    y, last = run_float(graph, x), graph.nodes[-1]
    return np.asarray(apply_final(last.kind, y, last.axis)) if isinstance(last, Final) else y


def check(model: Any, path: Path, seed: int = 0, tolerance: float = 1e-4) -> Graph:
    """Save the model, read the file, and compare what both answer."""
    randomise(model, seed)
    model.save(path)
    graph = read_keras(path)
    x = samples(model.input_shape[1:], seed)
    expected = np.asarray(model(x.astype("f4"), training=False), "f8")
    found = answer(graph, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
    return graph

"""Keras itself, which tests compare with; on numpy, where nothing is compiled for it."""

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
            read = variable.shape[: -2 if "depthwise" in variable.path else -1]
            values *= 3 / np.sqrt(max(1, np.prod(read)))
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


def check(model: Any, path: Path, seed: int = 0) -> Graph:
    """Save the model, read the file, and compare what both answer."""
    randomise(model, seed)
    model.save(path)
    graph = read_keras(path)
    x = samples(model.input_shape[1:], seed)
    expected = np.asarray(model(x.astype("f4"), training=False), "f8")
    found = answer(graph, x)
    assert found.shape == expected.shape
    # Of how answers differ, so that a network that forgets its input does not count as right.
    spread = max(0.1, np.ptp(expected, axis=0).max())
    assert np.abs(found - expected).max() <= 1e-4 * spread
    return graph

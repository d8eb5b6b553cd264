"""The examples run as they stand, and the networks that they make load and answer exactly."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc.graph.encoding import encode_weights
from libmpc.graph.loading import read_file
from libmpc.graph.lowering import lower
from libmpc.graph.reference import run_reference
from libmpc.runtime.simulation import Simulation

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(folder: Path, name: str, *arguments: str, warn: str = "error") -> str:
    """What an example prints, when run in a folder; Keras only trains where it has gradients."""
    backend = "jax" if "lenet" in arguments else "numpy"
    done = subprocess.run(
        [sys.executable, "-W", warn, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", ["by_hand.py", "three_steps.py"])
def test_an_example(name: str, tmp_path: Path) -> None:
    printed = run(tmp_path, name)
    assert "7 2 1 0 4" in printed or "7, 2, 1, 0, 4" in printed, printed


def test_private_evaluation(tmp_path: Path) -> None:
    printed = run(tmp_path, "private_evaluation.py")
    assert "of 256 are right" in printed
    assert "equal to the count of the plaintext reference" in printed
    assert "one image: the owner allows evaluations only" in printed


def test_private_evaluation_in_pytorch(tmp_path: Path) -> None:
    """Trained here where PyTorch is; where it is not, the example says what to do."""
    if importlib.util.find_spec("torch") is not None:
        assert "equal to the count" in run(tmp_path, "private_evaluation.py", "--train")
        return
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "private_evaluation.py"), "--train"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "PyTorch is not installed" in done.stderr
    assert "leave out --train" in done.stderr


NETWORKS = [
    pytest.param("keras", "lenet", marks=pytest.mark.slow),
    pytest.param("keras", "vgg", marks=pytest.mark.slow),
    pytest.param("keras", "resnet20"),
    pytest.param("torch", "lenet", marks=pytest.mark.slow),
    pytest.param("torch", "vgg", marks=pytest.mark.slow),
    pytest.param("torch", "resnet20", marks=pytest.mark.slow),
    pytest.param("torch", "mobilenet", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("framework", "name"), NETWORKS)
def test_a_network(framework: str, name: str, tmp_path: Path) -> None:
    needed = {"keras": ("keras", "jax"), "torch": ("torch", "onnxscript")}[framework]
    if any(importlib.util.find_spec(package) is None for package in needed):
        pytest.skip(f"needs {' and '.join(needed)}")
    file = f"{name}.{'keras' if framework == 'keras' else 'onnx'}"
    assert f"saved as {file}" in run(tmp_path, f"networks_{framework}.py", name, warn="ignore")
    lowered = lower(read_file(tmp_path / file))
    weights = encode_weights(lowered)
    x = np.load(tmp_path / f"{name}-inputs.npy")[:1]
    encoded = libmpc.encode(x)
    answer = Simulation(lowered.plan, weights).query(encoded)
    assert np.array_equal(answer, run_reference(lowered.plan, weights, encoded))
    expected = np.load(tmp_path / f"{name}-outputs.npy")[:1]
    error = np.abs(libmpc.decode(answer, scale_bits=32) - expected).max()
    assert error < 0.01 * max(1.0, np.abs(expected).max())

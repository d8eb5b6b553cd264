"""``libmpc reference`` and what a query is checked for, without services."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libmpc import data
from libmpc.graph.model import load_model
from tests.cli.run import Cli

MODEL = data.model_path("short-conv-mnist.h5")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "digits.npy"
    np.save(path, data.digits()[0][:5])
    return path


def test_logits(cli: Cli, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    document = cli("reference", MODEL, digits, "--out", out, "--input-range", 0, 1, "--json").json()
    assert (document["samples"], document["shape"]) == (5, [5, 10])
    logits = np.load(out, allow_pickle=False)
    assert logits.dtype == np.float64
    assert np.array_equal(logits, load_model(MODEL, (0, 1)).reference(np.load(digits)))
    assert logits.argmax(axis=1).tolist() == data.digits()[1][:5].tolist()


def test_the_range_changes_nothing(cli: Cli, digits: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.npy", tmp_path / "b.npy"
    assert cli("reference", MODEL, digits, "--out", first).code == 0
    wide = cli(
        "reference", MODEL, digits, "--out", second, "--input-range", -1, 40, "--proof-time", 0
    )
    assert wide.code == 0
    assert wide.err.startswith("warning: the range of layer ")
    assert first.read_bytes() == second.read_bytes()


def test_npz_in_and_out(cli: Cli, digits: Path, tmp_path: Path) -> None:
    both, out = tmp_path / "both.npz", tmp_path / "out.npz"
    np.savez(both, images=np.load(digits), labels=np.arange(5))
    assert cli("reference", MODEL, both, "--out", out).error().startswith(str(both))
    assert cli("reference", MODEL, both, "--array", "images", "--out", out).code == 0
    with np.load(out, allow_pickle=False) as archive:
        expected = load_model(MODEL, (0, 1)).reference(np.load(digits))
        assert np.array_equal(archive["logits"], expected)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda x: x * 255, "divide by 255"),
        (lambda x: x[0], "batch"),
        (lambda x: x[:, :14], "shape"),
        (lambda x: x[:0], "no samples"),
        (lambda x: np.where(x > 0.5, np.nan, x), "NaN"),
        (lambda x: np.where(x > 0.5, np.inf, x), "infinite"),
        (lambda x: x.astype(complex), "complex"),
        (lambda x: x.astype(str), "text"),
    ],
)
def test_inputs_that_do_not_fit(cli: Cli, tmp_path: Path, change: object, what: str) -> None:
    assert callable(change)
    path, out = tmp_path / "x.npy", tmp_path / "out.npy"
    np.save(path, change(data.digits()[0][:2]))
    message = cli("reference", MODEL, path, "--out", out, "--input-range", 0, 1).error()
    assert what in message
    assert not out.exists()

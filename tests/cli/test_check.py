"""``libmpc check``: fixed point against float64, and how much of the range is used."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from libmpc import data
from libmpc.cli.check import bar
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.comparison import compare
from libmpc.graph.floating import run_float
from libmpc.graph.loading import read_file
from libmpc.graph.model import load_model
from libmpc.graph.ranges import RangeWarning
from tests.cli.run import Cli, Result

MODEL = data.model_path("short-conv-mnist.h5")


def complaint(run: Result) -> str:
    """The error message, whatever was said about progress before."""
    assert (run.code, run.out) == (1, "")
    return run.err.splitlines()[-1].removeprefix("error: ")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "digits.npy"
    np.save(path, data.digits()[0][:20])
    return path


def test_the_numbers_are_right(cli: Cli, digits: Path) -> None:
    document = cli("check", MODEL, digits, "--input-range", 0, 1, "--json").json()
    x = np.load(digits)
    fixed, real = load_model(MODEL, (0, 1)).reference(x), run_float(read_file(MODEL), x)
    errors = np.abs(fixed - real)
    assert document["samples"] == 20
    assert document["max_error"] == errors.max()
    assert document["mean_error"] == errors.mean()
    assert document["largest_output"] == np.abs(real).max()
    assert 0 < document["max_error"] < 2**-8
    assert document["argmax_agreement"] == 1.0
    assert (document["range"], document["refusal"]) == ("proven", None)
    last = document["layers"][-1]
    assert last["layer"] == "dense"
    assert (last["low"], last["high"]) == (fixed.min(), fixed.max())
    assert last["used"] == pytest.approx(np.abs(fixed).max() / 32768, rel=1e-6)


def test_what_a_person_sees(cli: Cli, digits: Path) -> None:
    run = cli("check", MODEL, digits, "--input-range", 0, 1, "--limit", 3)
    assert run.code == 0
    head, errors, labels, range_, empty, titles, *rows = run.out.splitlines()
    assert head == "short-conv-mnist.h5: 3 samples in fixed point and in float64"
    assert errors.startswith("errors: 0.000")
    assert labels == "largest output: the same in 100.00% of the answers"
    assert range_.startswith("range: proven for every input in the declared range, a factor of ")
    assert empty == ""
    assert titles.split() == ["LAYER", "LEAST", "LARGEST", "LIMIT", "USED", "OF", "THE", "RANGE"]
    assert [row.split()[0] for row in rows] == ["conv2d", "conv2d_1", "conv2d_2", "dense"]
    assert all("±32768" in row and "█" in row for row in rows)


def test_first_samples_of_an_array_with_a_name(cli: Cli, digits: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.npz"
    np.savez(both, images=np.load(digits), labels=np.arange(20))
    named = cli("check", MODEL, both, "--array", "images", "--limit", 7, "--json").json()
    first = tmp_path / "first.npy"
    np.save(first, np.load(digits)[:7])
    alone = cli("check", MODEL, first, "--json").json()
    assert named == alone
    assert named["samples"] == 7


def test_a_model_that_push_would_refuse(cli: Cli, digits: Path, tmp_path: Path) -> None:
    # The last layer's weights a thousand times as large.
    large = tmp_path / "large.h5"
    large.write_bytes(Path(MODEL).read_bytes())
    with h5py.File(large, "r+") as file:
        kernel = file["model_weights/dense/short_conv_mnist/dense/kernel"]
        kernel[...] *= 1000.0
    run = cli("check", large, digits, "--input-range", 0, 1, "--proof-time", 0)
    assert run.code == 1
    assert "range: refused: layer 'dense': its values reach" in run.out
    assert "of 16 below the limit" in run.out
    refused = cli("reference", large, digits, "--input-range", 0, 1, "--out", tmp_path / "y.npy")
    assert "layer 'dense'" in complaint(refused)


def test_samples_to_calibrate_on(cli: Cli, digits: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.npy"
    np.save(one, np.load(digits)[:1])
    wide = ("--input-range", -40, 40, "--proof-time", 0)
    document = cli("check", MODEL, digits, *wide, "--calibration", one, "--json")
    assert "calibrated: on 1 given samples" in document.err
    assert document.json()["range"] == "calibrated"
    proof = cli("check", MODEL, digits, *wide, "--require-proof", "--json")
    assert proof.code == 1
    assert '"range": "refused"' in proof.out
    assert "not proven (the proof ran out of time)" in proof.out
    out = tmp_path / "out.npy"
    answer = cli("reference", MODEL, digits, *wide, "--calibration", one, "--out", out, "--json")
    assert answer.json()["range"] == "calibrated"
    unproven = cli("reference", MODEL, digits, *wide, "--require-proof", "--out", out)
    assert "not proven" in complaint(unproven)


def test_inputs_that_do_not_fit(cli: Cli, digits: Path, tmp_path: Path) -> None:
    assert "divide by 255" in complaint(
        cli("check", MODEL, _times(digits, 255), "--input-range", 0, 1)
    )
    assert "there is no file" in complaint(cli("check", MODEL, tmp_path / "none.npy"))
    assert "batch" in complaint(cli("check", MODEL, _saved(tmp_path, np.load(digits)[0])))
    assert "shape" in complaint(cli("check", MODEL, _saved(tmp_path, np.float64(1))))


def _times(path: Path, factor: int) -> Path:
    return _saved(path.parent, np.load(path) * factor)


def _saved(folder: Path, array: object) -> Path:
    path = folder / "changed.npy"
    np.save(path, array)  # type: ignore[arg-type]
    return path


def test_bars_are_logarithmic() -> None:
    assert bar(0.0) == bar(2.0**-30) == "·" * 24
    assert bar(1.0) == "█" * 24
    assert bar(2.0**-12) == "█" * 12 + "·" * 12
    assert bar(2.0**-11.5) == "█" * 12 + "▌" + "·" * 11
    assert bar(1.5) == "█" * 24 + "!"
    assert {len(bar(2.0 ** (-n / 10))) for n in range(240)} == {24}


def test_one_output_has_no_argmax_and_wrapped_answers_are_seen() -> None:
    b = GraphBuilder((2,), "x")
    graph = b.graph(b.dense("sum", "x", np.full((2, 1), 30000.0)))
    found = compare(graph, [[1.0, 1.0], [0.01, 0.01]], (0, 1))
    assert found.agreement is None
    assert found.range is None
    assert "'sum'" in (found.refusal or "")
    assert found.layers[0].used == pytest.approx(60000 / 32768)
    assert found.max_error == pytest.approx(65536, rel=1e-3)
    with pytest.warns(RangeWarning):
        fine = compare(graph, [[0.02, 0.02]], (0, 1))
    assert fine.range is not None
    assert fine.range.status == "calibrated"
    assert fine.refusal is None
    assert fine.max_error < 1


def test_progress_is_told_for_every_part() -> None:
    b = GraphBuilder((2,), "x")
    graph = b.graph(b.dense("sum", "x", np.ones((2, 2))))
    told: list[tuple[str, int, int]] = []
    compare(graph, np.zeros((40, 2)), (0, 1), progress=lambda *what: told.append(what))
    assert [what for what in told if what[0] == "comparing"] == [
        ("comparing", 16, 40),
        ("comparing", 32, 40),
        ("comparing", 40, 40),
    ]
    assert {stage for stage, _, _ in told} == {"proving", "watching ranges", "comparing"}

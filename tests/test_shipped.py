"""The files that ship with libmpc are complete, small, and do what they are for."""

from __future__ import annotations

import io
import json
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from libmpc import data
from libmpc.errors import ModelError

Floats = npt.NDArray[np.float32]
EXAMPLES = Path(__file__).parent.parent / "examples"


def _arrays(group: h5py.Group) -> list[Floats]:
    """All data sets below a group, in the order of their names."""
    found: list[Floats] = []
    group.visititems(
        lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None
    )
    return found


def _conv(x: Floats, kernel: Floats, bias: Floats) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    return np.asarray(np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2])) + bias)


def _pool(x: Floats) -> Floats:
    height, width = x.shape[1] // 2, x.shape[2] // 2
    x = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2, -1)
    return np.asarray(x.mean(axis=(2, 4)))


def test_digits_are_the_first_of_the_test_set() -> None:
    images, labels = data.digits()
    assert images.shape == (256, 28, 28, 1)
    assert images.dtype == np.float32
    assert labels.shape == (256,)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) == set(range(10))
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_digits_are_whole_multiples_of_one_255th() -> None:
    images, _ = data.digits()
    pixels = np.rint(images * 255).astype(np.uint8)
    assert np.array_equal(images, pixels.astype(np.float32) / np.float32(255))
    assert images.min() == 0
    assert images.max() == 1


def test_short_conv_is_the_tutorial_network_and_knows_its_digits() -> None:
    with h5py.File(data.model_path("short-conv-mnist.h5")) as file:
        config = json.loads(file.attrs["model_config"])
        weights = _arrays(file["model_weights"])
        assert "optimizer_weights" not in file
    assert config["class_name"] == "Sequential"
    block = ["Conv2D", "AveragePooling2D", "Activation"]
    layers = [layer["class_name"] for layer in config["config"]["layers"]]
    assert layers == ["InputLayer", *block * 3, "Flatten", "Dense"]

    shapes = {w.shape for w in weights}
    kernels = [(3, 3, 1, 10), (3, 3, 10, 32), (3, 3, 32, 64), (64, 10)]
    assert shapes == {*kernels, (10,), (32,), (64,)}
    assert all(w.dtype == np.float32 and np.isfinite(w).all() for w in weights)

    by_layer = {w.shape: b for b, w in zip(weights[::2], weights[1::2], strict=True)}
    by_shape = {w.shape: w for w in weights if w.ndim > 1}
    images, labels = data.digits()
    x = images
    for shape in kernels[:3]:
        x = np.maximum(_pool(_conv(x, by_shape[shape], by_layer[shape])), 0)
    logits = x.reshape(256, 64) @ by_shape[64, 10] + by_layer[64, 10]
    assert (logits.argmax(axis=1) == labels).sum() >= 250


def test_perceptron_is_784_500_10_and_knows_its_digits() -> None:
    with zipfile.ZipFile(data.model_path("perceptron-784-500-10.keras")) as archive:
        assert archive.testzip() is None
        config = json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            found = {w.shape: w for w in _arrays(file)}
    assert config["class_name"] == "Sequential"
    layers = [layer["class_name"] for layer in config["config"]["layers"]]
    assert layers == ["InputLayer", "Dense", "Dense"]
    assert set(found) == {(784, 500), (500,), (500, 10), (10,)}
    assert all(w.dtype == np.float32 and np.isfinite(w).all() for w in found.values())

    images, labels = data.digits()
    hidden = np.maximum(images.reshape(256, 784) @ found[784, 500] + found[500,], 0)
    logits = hidden @ found[500, 10] + found[10,]
    assert (logits.argmax(axis=1) == labels).sum() >= 250


def test_notice_names_authors_and_licence() -> None:
    notice = (data.folder() / "MNIST-NOTICE.md").read_text(encoding="utf-8")
    for words in ("LeCun", "Cortes", "Burges", "ShareAlike 3.0", "/licenses/by-sa/3.0/", "changed"):
        assert words in notice


def test_package_data_is_small_and_all_listed() -> None:
    shipped = [p for p in data.folder().iterdir() if p.is_file() and p.suffix != ".py"]
    assert sorted(p.name for p in shipped) == sorted(data.FILES)
    assert sum(p.stat().st_size for p in shipped) < 4_000_000


@pytest.mark.parametrize("name", ["", "mnist.h5", "digits.npy", "../errors.py"])
def test_unknown_model_is_an_error_that_lists_the_shipped_ones(name: str) -> None:
    with pytest.raises(ModelError, match=r"short-conv-mnist\.h5, perceptron-784-500-10\.keras"):
        data.model_path(name)


def _copy_to(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "libmpc.data", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_files_are_copied_to_a_folder_and_never_over_others(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    assert _copy_to(target).returncode == 0
    for name in data.FILES:
        assert (target / name).read_bytes() == (data.folder() / name).read_bytes()
    again = _copy_to(target)
    assert (again.returncode, again.stdout) == (0, "")

    (target / "labels.npy").write_bytes(b"mine")
    refused = _copy_to(target)
    assert refused.returncode != 0
    assert "labels.npy is there already and differs" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (target / "labels.npy").read_bytes() == b"mine"


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_examples_are_explained_and_compile(script: Path, tmp_path: Path) -> None:
    py_compile.compile(str(script), cfile=str(tmp_path / "compiled"), doraise=True)
    assert f"`{script.name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")

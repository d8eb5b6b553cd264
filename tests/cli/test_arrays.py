"""Arrays in files: numbers only, and messages that say what is wrong."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from libmpc.cli.arrays import check_output, read_array, write_array
from libmpc.errors import ConfigError, InputError

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def _npy(array: np.ndarray, *, pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickle)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _write(tmp_path: Path, content: bytes, name: str = "file.npy") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_npy(tmp_path: Path) -> None:
    array = read_array(_write(tmp_path, _npy(X)))
    assert array.dtype == X.dtype
    assert np.array_equal(array, X)


def test_npz_with_one_array(tmp_path: Path) -> None:
    assert np.array_equal(read_array(_write(tmp_path, _npz(x=X))), X)


def test_npz_with_several(tmp_path: Path) -> None:
    path = _write(tmp_path, _npz(x=X, y=X + 1))
    assert np.array_equal(read_array(path, "y"), X + 1)
    with pytest.raises(InputError, match="x, y"):
        read_array(path)
    with pytest.raises(InputError, match="'z'"):
        read_array(path, "z")


def test_a_name_for_an_npy_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--array"):
        read_array(_write(tmp_path, _npy(X)), "x")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"hello", "no .npy"),
        (b"\x80\x04\x95 a pickle", "no .npy"),
        (_npy(np.array([{}], dtype=object), pickle=True), "Python objects"),
        (_npy(X)[:-1], "cut short"),
        (_npy(X)[:20], "cut short"),
        (_npy(X).replace(b"(3, 4)", b"(9**9,"), "cut short"),
        (_npy(X).replace(b"(3, 4)", b"(9**9)"), "cut short"),
        (_npz(x=X)[:-30], "cut short"),
        (_npz(), "no arrays"),
    ],
)
def test_files_that_are_no_arrays(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_array(_write(tmp_path, content))


def test_objects_in_an_archive(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", _npy(np.array([{}], dtype=object), pickle=True))
    with pytest.raises(InputError, match="Python objects"):
        read_array(_write(tmp_path, file.getvalue()))


def test_a_changed_archive(tmp_path: Path) -> None:
    content = bytearray(_npz(x=np.arange(1000)))
    content[200] ^= 0xFF
    with pytest.raises(InputError, match="damaged"):
        read_array(_write(tmp_path, bytes(content)))


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_array(tmp_path / "nothing.npy")
    with pytest.raises(InputError, match="is a directory"):
        read_array(tmp_path)


@pytest.mark.parametrize("name", ["out.npy", "out.npz"])
def test_write_and_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    check_output(path)
    write_array(path, X.astype(np.float64), "logits")
    assert np.array_equal(read_array(path), X)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_npz_names_its_array(tmp_path: Path) -> None:
    write_array(tmp_path / "out.npz", X, "logits")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert archive.files == ["logits"]


def test_output_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must end in"):
        check_output(tmp_path / "out.csv")
    with pytest.raises(ConfigError, match="no directory"):
        check_output(tmp_path / "nowhere" / "out.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ConfigError, match="is a directory"):
        check_output(tmp_path / "folder.npy")

"""Files that were not meant well: always a ``ModelError`` that says something, never more."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest

from libmpc.errors import ModelError
from libmpc.graph.keras import read_keras
from tests.graph.keras_files import DATA, Config, dense, layer, sequential, write_h5, write_keras

CONFIG = sequential(dense("d", 3))


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        read_keras(path)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["sequential.h5", "sequential.keras"])
def test_cut_short_anywhere(tmp_path: Path, name: str) -> None:
    whole = (DATA / name).read_bytes()
    for length in {*range(0, len(whole), 997), 1, 3, 4, 7, 8, 9, 100, len(whole) - 1}:
        path = tmp_path / name
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            read_keras(path)


@pytest.mark.parametrize("name", ["sequential.h5", "functional.keras"])
def test_damaged_anywhere(tmp_path: Path, name: str) -> None:
    """A changed byte gives a ModelError, or a model (a changed weight cannot be told)."""
    whole = bytearray((DATA / name).read_bytes())
    rng = np.random.default_rng(5)
    refusals = 0
    for place in rng.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / name).write_bytes(damaged)
        try:
            read_keras(tmp_path / name)
        except ModelError:
            refusals += 1
    assert refusals > 0


def test_no_model_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "none.h5", "there is no file")
    refused(tmp_path, "is a directory")
    refused(tmp_path / "nul\0byte", "cannot read|there is no file|not a usable path")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "is empty")
    (tmp_path / "text.h5").write_text("not a model at all")
    refused(tmp_path / "text.h5", "is not a Keras model")
    os.mkfifo(tmp_path / "pipe.h5")
    refused(tmp_path / "pipe.h5", "not a regular file")
    refused(Path(os.devnull), "not a regular file")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    data = pickle.dumps(Trap())
    (tmp_path / "m.h5").write_bytes(data)
    refused(tmp_path / "m.h5", "is not a Keras model")
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:  # as torch.save writes it
        archive.writestr("model/data.pkl", data)
    refused(tmp_path / "m.pt", "no config.json: not a Keras model")
    assert not (tmp_path / "sprung").exists()


def test_weights_without_architecture(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["dense/kernel"] = np.ones((2, 2))
    refused(tmp_path / "m.h5", "weights only.*model.save")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(CONFIG)
    refused(tmp_path / "m.h5", "no weights")


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libmpc.graph.keras.container.MAX_FILE_BYTES", 1000)
    refused(write_h5(tmp_path / "m.h5", CONFIG), "more than 1000 bytes")


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(20 << 20))
    assert path.stat().st_size < 100_000
    refused(path, "unpacks to more than")
    # The same with a header that says it were small.
    raw = path.read_bytes()
    size = (20 << 20).to_bytes(4, "little")
    assert raw.count(size) >= 1
    path.write_bytes(raw.replace(size, (100).to_bytes(4, "little")))
    refused(path, "JSON|unpacks|damaged")


def test_odd_zips(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("config.json", "{}")
    refused(path, "twice")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("config.json", "{}")
    refused(path, "compressed in a way")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(CONFIG))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n but not")
    refused(path, "model.weights.h5 is damaged")
    write_keras(path, CONFIG, {}, more={"model.weights.json": b"{}"})
    refused(path, "max_shard_size")
    write_keras(path, CONFIG, {})
    refused(path, "no layers")
    write_keras(path, CONFIG, {"dense": [np.ones((4, 3))]})
    refused(path, "should have kernel and bias")
    twice = {"dense": [np.ones((4, 3))], "dense_1": [np.ones((4, 3))]}
    write_keras(path, CONFIG, twice, {"dense": "d", "dense_1": "d"})
    refused(path, "two layers named 'd'")


def with_kernel(path: Path, make: object) -> Path:
    """A file whose kernel is made by ``make(group, name)``."""
    write_h5(path, CONFIG)
    with h5py.File(path, "a") as file:
        group = file["model_weights/d/d"]
        del group["kernel:0"]
        make(group, "kernel:0")  # type: ignore[operator]
    return path


def test_links_to_elsewhere(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones((4, 3))
        file.create_group("group")

    def external(group: h5py.Group, name: str) -> None:
        group[name] = h5py.ExternalLink(str(other), "/secret")

    def soft(group: h5py.Group, name: str) -> None:
        group.file["elsewhere"] = np.ones((4, 3))
        group[name] = h5py.SoftLink("/elsewhere")

    for make in (external, soft):
        refused(with_kernel(tmp_path / "m.h5", make), "is a link to elsewhere")
    write_h5(tmp_path / "m.h5", CONFIG)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(str(other), "/group")
    refused(tmp_path / "m.h5", "is a link to elsewhere")


def test_data_in_other_files(tmp_path: Path) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(bytes(4 * 3 * 4))

    def outside(group: h5py.Group, name: str) -> None:
        group.create_dataset(name, (4, 3), "f4", external=[(str(raw), 0, 48)])

    def virtual(group: h5py.Group, name: str) -> None:
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (4, 3))
        group.create_virtual_dataset(name, layout)

    for make in (outside, virtual):
        refused(with_kernel(tmp_path / "m.h5", make), "refers to another file")


def test_arrays_that_promise_more_than_the_file_has(tmp_path: Path) -> None:
    """Nothing is allocated for 4 TB of weights that were never written."""
    side = 1 << 20
    config = sequential(dense("d", side), shape=(side,))
    path = write_h5(tmp_path / "m.h5", config, {})
    with h5py.File(path, "a") as file:
        group = file["model_weights"].create_group("d")
        group.attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
        group.create_dataset("d/kernel:0", (side, side), "f4", chunks=(1, 1024))
        group.create_dataset("d/bias:0", (side,), "f4", chunks=(1024,))
    refused(path, "more than")
    config = sequential(dense("d", 3000), shape=(3000,))
    path = write_h5(tmp_path / "m.h5", config, {})
    with h5py.File(path, "a") as file:
        group = file["model_weights"].create_group("d")
        group.attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
        group.create_dataset(
            "d/kernel:0", (3000, 3000), "f4", np.zeros((3000, 3000)), compression="gzip"
        )
        group.create_dataset("d/bias:0", (3000,), "f4")
    refused(path, "no trained layer")


def test_compression(tmp_path: Path) -> None:
    def gzip(group: h5py.Group, name: str) -> None:
        group.create_dataset(name, data=np.ones((4, 3), "f4"), compression="gzip", shuffle=True)

    def lzf(group: h5py.Group, name: str) -> None:
        group.create_dataset(name, data=np.ones((4, 3), "f4"), compression="lzf")

    assert len(read_keras(with_kernel(tmp_path / "m.h5", gzip)).nodes) == 2
    refused(with_kernel(tmp_path / "m.h5", lzf), "only gzip")


def test_odd_attributes(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    values: list[object] = [np.arange(3), np.full(20_000, b"a"), np.zeros((2, 2), "S3"), 7]
    for value in values:
        write_h5(path, CONFIG)
        with h5py.File(path, "a") as file:
            file["model_weights/d"].attrs["weight_names"] = value
        refused(path, "attribute 'weight_names'")
    for value in (np.arange(3), h5py.Empty("S1"), np.bytes_(b"\xff\xfe")):
        write_h5(path, CONFIG)
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = value
        refused(path, "model_config|damaged")


def test_names_stay_names(tmp_path: Path) -> None:
    """A layer's name with slashes or dots leads nowhere but down; messages stay printable."""
    for name in ("../model_weights/d", "/model_weights/d", "d/..", "\x1b[31m\n"):
        weights = {"d": {"kernel": np.ones((4, 3)), "bias": np.ones(3)}}
        path = write_h5(tmp_path / "m.h5", sequential(dense(name, 3)), weights)
        with pytest.raises(ModelError, match="no weights for it") as caught:
            read_keras(path)
        assert str(caught.value).isprintable()
    refused(write_h5(tmp_path / "m.h5", sequential(layer("x" * 5000, "y"))), r"x\.\.\.\)")


def test_deep_and_long_configurations(tmp_path: Path) -> None:
    many = sequential(*(layer("ReLU", f"r{i}") for i in range(5000)))
    write_keras(tmp_path / "m.keras", many, {"x": []})
    refused(tmp_path / "m.keras", "more than 4096 layers")
    deep = json.dumps(CONFIG).replace('"linear"', "[" * 900 + "]" * 900)
    refused(write_keras(tmp_path / "m.keras", deep, {"x": []}), "'d' .*activation|no weights")


def in_itself(depth: int, calls: int, *layers: Config) -> Config:
    """A model of two calls of a model of two calls of ..."""
    config = sequential(*layers)
    for level in range(depth):
        inner = {**config, "config": {**config["config"], "name": f"m{level}"}, "name": f"m{level}"}
        sources = ["in", *[f"m{level}"] * (calls - 1)]
        inner["inbound_nodes"] = [[[name, call, 0, {}]] for call, name in enumerate(sources)]
        first = layer("InputLayer", "in", batch_input_shape=[None, 4]) | {"inbound_nodes": []}
        end = [[f"m{level}", calls, 0]]
        values = {"layers": [first, inner], "output_layers": end}
        config = {"class_name": "Functional", "config": values}
    return config


def test_models_in_models_without_end(tmp_path: Path) -> None:
    """A short file asks for 2^15 calls, then for many more; nothing is done for the latter."""
    weights: dict[str, dict[str, object]] = {"m9": {}, "m14": {}}
    nothing = layer("Dropout", "nothing")
    path = write_h5(tmp_path / "m.h5", in_itself(10, 2, nothing), weights)
    assert [type(node).__name__ for node in read_keras(path).nodes] == ["Input"]
    refused(write_h5(path, in_itself(15, 3, nothing), weights), "called more than 65536 times")
    refused(write_h5(path, in_itself(17, 1, nothing), weights), "more than 16 deep")
    opening = '{"class_name": "Sequential", "config": {"name": "m", "layers": ['
    refused(write_h5(path, opening * 100 + "]}}" * 100), "more than 16 deep")
    refused(write_h5(path, opening * 900 + "]}}" * 900), "not valid JSON|more than 16 deep")


def test_one_array_for_many_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard links let a small file be a large model; weights are counted as often as they are
    read."""
    names = [f"d{i}" for i in range(20)]
    config = sequential(*(dense(name, 4) for name in names))
    arrays = {"kernel": np.ones((4, 4)), "bias": np.ones(4)}
    path = write_h5(tmp_path / "m.h5", config, {"d0": arrays})
    with h5py.File(path, "a") as file:
        root = file["model_weights"]
        for name in names[1:]:
            root[name] = root["d0"]
    assert len(read_keras(path).nodes) == 21
    monkeypatch.setattr("libmpc.graph.keras.weights.Budget.left", 100)
    monkeypatch.setattr("libmpc.graph.keras.weights.Budget.__init__.__defaults__", (100,))
    refused(path, "more than .* weights")

from __future__ import annotations

import copy
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest

from libmpc.errors import ModelError
from libmpc.graph.floating import apply_final, run_float
from libmpc.graph.keras import read_keras
from libmpc.graph.nodes import Conv, Dense, Final, Graph, Node
from tests.graph.keras_files import (
    DATA,
    Config,
    conv,
    dense,
    layer,
    sequential,
    weights_for,
    write_h5,
    write_keras,
)

EXPECTED = np.load(DATA / "expected.npz")


def kinds(graph: Graph) -> list[str]:
    return [type(node).__name__ for node in graph.nodes]


@pytest.mark.parametrize("ending", ["h5", "keras"])
@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_answers_like_keras(name: str, ending: str) -> None:
    graph = read_keras(DATA / f"{name}.{ending}")
    answer = run_float(graph, EXPECTED[f"{name}_x"])
    last = graph.nodes[-1]
    assert isinstance(last, Final) == (name == "sequential")
    if isinstance(last, Final):
        assert (last.kind, last.axis) == ("softmax", -1)
        answer = np.asarray(apply_final(last.kind, answer))
    assert np.abs(answer - EXPECTED[f"{name}_y"]).max() < 1e-6


def constants(node: Node) -> list[object]:
    arrays = [a for a in vars(node).values() if isinstance(a, np.ndarray)]
    return [array.tolist() for array in arrays]


def test_both_formats_give_the_same_graph() -> None:
    for name in ("sequential", "functional"):
        one, two = (read_keras(DATA / f"{name}.{ending}") for ending in ("h5", "keras"))
        assert kinds(one) == kinds(two)
        for first, second in zip(one.nodes, two.nodes, strict=True):
            assert (first.name, first.inputs) == (second.name, second.inputs)
            assert constants(first) == constants(second)


@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_answers_like_keras_2(ending: str) -> None:
    graph = read_keras(DATA / f"keras_2.{ending}")
    expected = np.load(DATA / "keras_2_expected.npz")
    found = np.asarray(apply_final("softmax", run_float(graph, expected["x"])))
    assert np.abs(found - expected["y"]).max() < 1e-6


def test_hard_sigmoid_of_the_version_that_saved(tmp_path: Path) -> None:
    config = sequential(layer("Activation", "a", activation="hard_sigmoid"))
    x = np.linspace(-4, 4, 20).reshape(5, 4)
    for version, slope in (("2.15.0", 0.2), ("3.1.0", 1 / 6), (None, 0.2), ("odd", 0.2)):
        path = write_h5(tmp_path / "m.h5", config)
        with h5py.File(path, "a") as file:
            del file.attrs["keras_version"]
            if version is not None:
                file.attrs["keras_version"] = version
        found = run_float(read_keras(path), x)
        assert np.abs(found - np.clip(slope * x + 0.5, 0, 1)).max() < 1e-12


def test_keras_2_file(tmp_path: Path) -> None:
    config = sequential(dense("first", 3), layer("ReLU", "relu"), dense("second", 2))
    graph = read_keras(write_h5(tmp_path / "m.h5", config))
    assert kinds(graph) == ["Input", "Dense", "Relu", "Dense"]
    node = graph.nodes[1]
    assert isinstance(node, Dense)
    assert node.weights.tolist() == (np.arange(12).reshape(4, 3) / 8).tolist()
    assert node.bias.tolist() == [0, 1, 2]


def test_layers_of_very_old_files(tmp_path: Path) -> None:
    """Before Keras 2.2.3 the configuration was the list of layers, without an input layer."""
    config = sequential(dense("first", 3))
    entries = config["config"]["layers"][1:]
    entries[0]["config"]["batch_input_shape"] = [None, 4]
    path = write_h5(
        tmp_path / "m.h5", {"class_name": "Sequential", "config": entries}, weights_for(config)
    )
    assert read_keras(path).nodes[0].output_shape(()) == (4,)


def test_input_shape_from_the_build(tmp_path: Path) -> None:
    config = sequential(dense("first", 3))
    weights = weights_for(config)
    del config["config"]["layers"][0]
    config["config"]["build_input_shape"] = [None, 4]
    assert kinds(read_keras(write_h5(tmp_path / "m.h5", config, weights))) == ["Input", "Dense"]
    del config["config"]["build_input_shape"]
    with pytest.raises(ModelError, match="input shape; begin it with"):
        read_keras(write_h5(tmp_path / "m.h5", config, weights))


def keras_2_functional(*names: str) -> Config:
    layers = [layer("InputLayer", "in", batch_input_shape=[None, 4])]
    layers += [dense(name, 4) for name in names]
    layers[0]["inbound_nodes"] = []
    for before, entry in zip(["in", *names], layers[1:], strict=False):
        entry["inbound_nodes"] = [[[before, 0, 0, {}]]]
    config = {"layers": layers, "input_layers": [["in", 0, 0]]}
    return {"class_name": "Functional", "config": {**config, "output_layers": [[names[-1], 0, 0]]}}


def test_functional_chain_by_its_edges(tmp_path: Path) -> None:
    config = keras_2_functional("a", "b", "c")
    weights = weights_for(config)
    config["config"]["layers"][1:] = config["config"]["layers"][:0:-1]  # listed backwards
    graph = read_keras(write_h5(tmp_path / "m.h5", config, weights))
    assert [node.name for node in graph.nodes] == ["in", "a", "b", "c"]


def test_functional_models_that_make_no_sense(tmp_path: Path) -> None:
    def refused(config: Config, match: str) -> None:
        with pytest.raises(ModelError, match=match):
            read_keras(write_h5(tmp_path / "m.h5", config))

    base = keras_2_functional("a", "b", "c")
    for source, match in (
        ("c", "'c' .*does not come from"),
        ("nobody", "'c' .*reads 'nobody', which does not come from"),
    ):
        config = copy.deepcopy(base)
        config["config"]["layers"][3]["inbound_nodes"] = [[[source, 0, 0, {}]]]
        refused(config, match)
    config = copy.deepcopy(base)
    config["config"]["layers"][3]["inbound_nodes"] = [[["b", 1, 0, {}]]]
    refused(config, "'c' .*reads 'b', which does not come from")
    config["config"]["layers"][3]["inbound_nodes"] = [[["b", 0, 1, {}]]]
    refused(config, "'c' .*reads output 1 of 'b'; layers with several outputs")
    config["config"]["layers"][3]["inbound_nodes"] = [[["b", "0", 0, {}]]]
    refused(config, "'c' .*the file does not say what it reads")
    config = copy.deepcopy(base)
    config["config"]["output_layers"] = [["c", 0, 0], ["b", 0, 0]]
    refused(config, "2 outputs .'c', 'b'.; exactly one")
    config["config"]["output_layers"] = [["nobody", 0, 0]]
    refused(config, "output .* is none of its layers")
    config = copy.deepcopy(base)
    config["config"]["layers"][3]["inbound_nodes"] = [[["b", 0, 0, {"training": True}]]]
    refused(config, "'c' .*is called with 'training'")
    config["config"]["layers"][3]["inbound_nodes"] = [[["b", 0, 0, {}], ["a", 0, 0, {}]]]
    refused(config, "'c' .*reads 2 values, not one")
    config = copy.deepcopy(base)
    config["config"]["layers"].append(copy.deepcopy(config["config"]["layers"][0]))
    refused(config, "'in' .*another layer has the same name")
    config["config"]["layers"][-1]["config"]["name"] = "in2"
    refused(config, "2 inputs .'in', 'in2'.; exactly one")


def test_branches_and_an_output_from_the_middle(tmp_path: Path) -> None:
    config = keras_2_functional("a", "b", "c")
    config["config"]["layers"][3]["inbound_nodes"] = [[["a", 0, 0, {}]]]
    total = layer("Add", "sum")
    total["inbound_nodes"] = [[["b", 0, 0, {}], ["c", 0, 0, {}], ["in", 0, 0, {}]]]
    config["config"]["layers"].append(total)
    config["config"]["output_layers"] = [["sum", 0, 0]]
    weights = weights_for(config)
    graph = read_keras(write_h5(tmp_path / "m.h5", config, weights))
    assert [node.name for node in graph.nodes] == ["in", "a", "b", "c", "sum"]
    assert graph.nodes[-1].inputs == ("b", "c", "in")
    config["config"]["output_layers"] = [["b", 0, 0]]
    graph = read_keras(write_h5(tmp_path / "m.h5", config, weights))
    assert [node.name for node in graph.nodes] == ["in", "a", "b"]


def test_a_layer_that_is_called_twice(tmp_path: Path) -> None:
    config = keras_2_functional("a", "b")
    config["config"]["layers"][1]["inbound_nodes"].append([["b", 0, 0, {}]])
    config["config"]["output_layers"] = [["a", 1, 0]]
    first, second = read_keras(write_h5(tmp_path / "m.h5", config)).nodes[1::2]
    assert isinstance(first, Dense) and isinstance(second, Dense)
    assert first.name == "a" and second.name.startswith("a")
    assert (first.inputs, second.inputs) == (("in",), ("b",))
    assert np.array_equal(first.weights, second.weights)


def test_softmax_inside(tmp_path: Path) -> None:
    for entry in (
        layer("Softmax", "soft"),
        layer("Activation", "soft", activation="sigmoid"),
        dense("soft", 4) | {"class_name": "Dense"},
    ):
        if entry["class_name"] == "Dense":
            entry["config"]["activation"] = "log_softmax"
        config = sequential(entry, layer("Dropout", "no"), dense("d", 3))
        with pytest.raises(ModelError, match="'soft' .*at the model's end only, but 'd' reads"):
            read_keras(write_h5(tmp_path / "m.h5", config))


def test_names_of_weights_in_parts(tmp_path: Path) -> None:
    """HDF5 has no attributes above 64 kB; Keras numbers the parts of longer ones."""
    path = write_h5(tmp_path / "m.h5", sequential(dense("d", 3)))
    whole = read_keras(path).nodes[1]
    with h5py.File(path, "a") as file:
        group = file["model_weights/d"]
        first, second = group.attrs.pop("weight_names")
        group.attrs["weight_names0"], group.attrs["weight_names1"] = [first], [second]
    found = read_keras(path).nodes[1]
    assert isinstance(whole, Dense) and isinstance(found, Dense)
    assert np.array_equal(found.weights, whole.weights)


def test_weights_are_found_by_name_not_by_order(tmp_path: Path) -> None:
    config = sequential(dense("dense_1", 4), dense("dense", 4))
    kernels = [np.full((4, 4), 1.0, "f4"), np.full((4, 4), 2.0, "f4")]
    bias = np.zeros(4, "f4")
    groups = {"dense": [kernels[1], bias], "dense_1": [kernels[0], bias]}
    swapped = {"dense": [kernels[0], bias], "dense_1": [kernels[1], bias]}
    for variables, names in (
        (groups, {"dense": "dense", "dense_1": "dense_1"}),
        (swapped, {"dense": "dense_1", "dense_1": "dense"}),
        (swapped, None),  # no names: numbers count the layers of a class, as Keras does
    ):
        graph = read_keras(write_keras(tmp_path / "m.keras", config, variables, names))
        first, second = graph.nodes[1:]
        assert isinstance(first, Dense) and isinstance(second, Dense)
        assert (first.weights[0, 0], second.weights[0, 0]) == (1, 2)
    # The first versions called the group otherwise.
    old = write_keras(tmp_path / "m.keras", config, swapped, root="_layer_checkpoint_dependencies")
    assert kinds(read_keras(old)) == ["Input", "Dense", "Dense"]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (28, 3, 1, (1, 1)),
        (28, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (8, 5, 3, (1, 2)),
        (6, 1, 2, (0, 0)),
    ],
)
def test_same_padding(
    tmp_path: Path, size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    config = sequential(
        conv(kernel_size=[kernel, 1], strides=[stride, 1], padding="same"), shape=(size, 4, 1)
    )
    weights = {"conv": {"kernel": np.ones((kernel, 1, 1, 2)), "bias": np.zeros(2)}}
    node = read_keras(write_h5(tmp_path / "m.h5", config, weights)).nodes[1]
    assert isinstance(node, Conv)
    assert node.padding == (*expected, 0, 0)
    assert node.output_shape((size, 4, 1))[0] == -(-size // stride)

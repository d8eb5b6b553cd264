from __future__ import annotations

import copy
import re
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


def conv(**changes: object) -> Config:
    values: Config = {"filters": 2, "kernel_size": [3, 3], "activation": "linear"}
    return layer("Conv2D", "conv", **(values | changes))


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (layer("LSTM", "memory"), r"'memory' \(LSTM\).*recurrent"),
        (layer("Mine", "own"), r"'own' \(Mine\).*supported are Activation, .*Conv2D, "),
        (layer("Lambda", "code", function="x"), r"'code' \(Lambda\).*code, which is never run"),
        (layer("LayerNormalization", "n"), "statistic of every input.*BatchNormalization"),
        (layer("TFOpLambda", "f", function="linalg.svd"), "function 'linalg.svd' is not"),
        (layer("ReLU", "r", max_value="6"), "max_value='6' is not a finite number"),
        (layer("ReLU", "r", threshold=True), "threshold=True"),
        (layer("ReLU", "r", negative_slope=-1), "must not be negative"),
        (layer("LeakyReLU", "r", alpha=[1.0, 2.0]), "PReLU for several"),
        (layer("Softmax", "s", axis=[1, 2]), "several axes"),
        (layer("Softmax", "s", axis=4), "axis=4 does not name axes"),
        (layer("Softmax", "s", axis=0), "axis=0 does not name axes"),
        (layer("UpSampling2D", "u", interpolation="bilinear"), "'bilinear' is not supported"),
        (layer("UpSampling2D", "u", size=[2, 0]), "size=0"),
        (layer("UpSampling2D", "u", size=1 << 28), "'u:2' .*more than"),
        (layer("ZeroPadding2D", "z", padding=[[1, 2], [3, -4]]), "padding=-4"),
        (layer("ZeroPadding2D", "z", padding=1 << 20), "'z' .*more than"),
        (layer("Cropping2D", "c", cropping=3), "leaves nothing"),
        (layer("Reshape", "r", target_shape=[5, -1]), "cannot become"),
        (layer("Reshape", "r", target_shape=[-1, -1]), "not a shape"),
        (layer("Reshape", "r", target_shape=[0, -1]), "not a shape"),
        (layer("Reshape", "r", target_shape=[2.0]), "not a shape"),
        (layer("Permute", "p", dims=[1, 2]), "each of its 3 axes"),
        (layer("Permute", "p", dims=[1, 2, 2]), "each of its 3 axes"),
        (layer("Permute", "p", dims=[0, 1, 2]), "does not name axes"),
        (layer("RepeatVector", "r", n=2), "needs a vector"),
        (layer("Add", "a"), "'a' .*reads one value"),
        (layer("Subtract", "a"), "'a' .*reads 1 values"),
        (layer("Rescaling", "r", scale="2"), "scale='2' is not a number"),
        (layer("Rescaling", "r", scale=[1, [2]]), "is not a number or a list"),
        (layer("Rescaling", "r", scale=[1.0, 2.0]), "does not fit"),
        (layer("Rescaling", "r", scale=1e999), "is not a number or a list"),
        (layer("Normalization", "n", mean=[1, 2], variance=[1, 2]), "do not fit"),
        (layer("Normalization", "n", mean=1, variance=-1), "variance is negative"),
        (layer("BatchNormalization", "b", axis=[1, 2]), "several axes"),
        (layer("Conv2DTranspose", "t", filters=1, kernel_size=3, strides=2, dilation_rate=2), "bo"),
        (conv(groups=2), "groups=2 does not divide its 1 channels"),
        (conv(data_format="first"), "data_format='first'"),
        (
            conv(kernel_size=7, padding="same", activation="swish"),
            "'conv' .*'swish' is not supported; supported are .*hard_swish",
        ),
        (
            layer("Activation", "act", activation={"class_name": "function", "config": "f"}),
            "'act' .*'function' is not supported",
        ),
        (layer("Activation", "act", activation="tanh"), r"'act' .*'tanh' is not supported"),
        (layer("Activation", "act", activation={"class_name": "f"}), r"'act' .*activation 'f'"),
        (conv(padding="causal"), "padding='causal' is not supported, only 'valid' or 'same'"),
        (conv(kernel_size=[3, 3, 3]), "not a pair"),
        (conv(kernel_size=[3, "3"]), "whole number"),
        (conv(strides=0), "strides=0"),
        (conv(filters=2.5), "filters=2.5"),
        (conv(filters=True), "filters=True"),
        (conv(use_bias="yes"), "use_bias='yes'"),
        (conv(kernel_size=[7, 7]), "larger than the image"),
        ({"class_name": "Dense", "config": {"units": 3}}, "without class or name"),
        ({"class_name": "Dense"}, "configuration of a 'Dense' layer"),
        ({**dense("mine", 3), "registered_name": "me>Dense"}, "author's own"),
    ],
)
def test_refused_layers(tmp_path: Path, entry: Config, match: str) -> None:
    config = sequential(entry, shape=(6, 6, 1))
    weights = {"conv": {"kernel": np.ones((7, 7, 1, 2)), "bias": np.ones(2)}}
    with pytest.raises(ModelError, match=match):
        read_keras(write_h5(tmp_path / "m.h5", config, weights))


def test_layers_that_need_an_image(tmp_path: Path) -> None:
    for entry in (conv(), layer("AveragePooling2D", "pool", pool_size=2)):
        with pytest.raises(ModelError, match=r"needs an image .* has \(4,\)"):
            read_keras(write_h5(tmp_path / "m.h5", sequential(entry)))


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({}, "no weights for it"),
        ({"kernel": np.ones((4, 3))}, "should have kernel and bias"),
        ({"kernel": np.ones((4, 3)), "bias": np.ones(3), "lora": np.ones(3)}, "has 3 arrays"),
        ({"kernel": np.ones((4, 3)), "beta": np.ones(3)}, "should have kernel and bias"),
        (
            {"kernel": np.ones((3, 4)), "bias": np.ones(3)},
            r"shape \(3, 4\), the layer needs \(4, 3\)",
        ),
        ({"kernel": np.ones((4, 3), "i8"), "bias": np.ones(3)}, "dtype int64"),
        ({"kernel": h5py.Empty("f4"), "bias": np.ones(3)}, "shape None"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, variables: Config, match: str) -> None:
    weights = {"d": variables} if variables else {}
    with pytest.raises(ModelError, match=rf"layer 'd' \(Dense\).*{match}"):
        read_keras(write_h5(tmp_path / "m.h5", sequential(dense("d", 3)), weights))


def test_shapes_that_are_open_or_too_large(tmp_path: Path) -> None:
    for shape, match in (
        ((None, 4), "not fixed"),
        ((), "is not"),
        ((1 << 29,), "not supported"),
        ((1 << 15, 1 << 15), "more than"),
        ((0,), "not supported"),
        (("a",), "not fixed"),
    ):
        config = sequential(layer("Flatten", "f"), shape=shape)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=match):
            read_keras(write_h5(tmp_path / "m.h5", config))


def test_other_kinds_of_models(tmp_path: Path) -> None:
    for text, match in (
        ('{"class_name": "MyModel", "config": {}}', "'MyModel' is not supported"),
        ("[1]", "not a JSON object"),
        ("{", "not valid JSON"),
        ("[" * 50_000, "not valid JSON"),
        ('{"class_name": "Sequential"}', "not a JSON object"),
        ('{"class_name": "Sequential", "config": {"layers": 5}}', "not a list"),
        ('{"class_name": "Sequential", "config": {"layers": []}}', "input shape"),
        ('{"class_name": "Functional", "config": {"layers": []}}', "0 inputs"),
        (
            '{"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", '
            '"config": {"name": "a"}}]}}',
            "damaged",
        ),
    ):
        with pytest.raises(ModelError, match=re.escape(match)):
            read_keras(write_h5(tmp_path / "m.h5", text))

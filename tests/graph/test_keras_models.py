"""Whole models against Keras itself: merging layers, functions, shared layers, models in models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libmpc.errors import ModelError
from libmpc.graph.keras import read_keras
from libmpc.graph.nodes import Dense, Final
from tests.graph.keras_networks import NETWORKS
from tests.graph.real_keras import check, keras, layers

# Of Keras' own code, for this version of numpy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")

ENDINGS = pytest.mark.parametrize("ending", ["keras", "h5"])
MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
MATCHING = ((3, 4), (3, 4), (1, 4), (3, 1), (4,), (1,))


@pytest.mark.parametrize("kind", MERGING)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_merging(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    """Two or three values whose shapes match, some of them the same value."""
    first = keras.Input((3, 4))
    count = 2 if kind == "Subtract" else data.draw(st.integers(2, 3))
    values: list[Any] = []
    for _ in range(count):
        again = values and data.draw(st.integers(0, 3)) == 0
        shape = (3, 4) if kind == "Concatenate" else data.draw(st.sampled_from(MATCHING))
        if again:
            values.append(data.draw(st.sampled_from(values)))
        elif shape == (3, 4):
            values.append(layers.Dense(4)(first))
        elif shape == (3, 1):
            values.append(layers.Dense(1)(first))
        else:
            values.append(layers.GlobalMaxPooling1D(keepdims=shape[0] == 1)(first))
            if shape == (1,):
                values[-1] = layers.Reshape((1,))(
                    layers.Cropping1D((0, 3))(
                        layers.Permute((2, 1))(layers.GlobalAveragePooling1D(keepdims=True)(first))
                    )
                )
    arguments = {"axis": data.draw(st.sampled_from((-1, 1, 2)))} if kind == "Concatenate" else {}
    merged = getattr(layers, kind)(**arguments)(values)
    check(keras.Model(first, merged), tmp_path / f"m.{data.draw(st.sampled_from(('keras', 'h5')))}")


def functions(x: Any, y: Any) -> list[Any]:
    """Of two values with three features each, all the functions that are supported."""
    return [
        x + y,
        x - y,
        x * y,
        x + x,
        x * 0.5,
        2 - x,
        x / 4,
        -x,
        abs(x),
        x + np.array([1.0, 2.0, 3.0]),
        keras.ops.maximum(x, y),
        keras.ops.minimum(x, y),
        keras.ops.maximum(x, 0.25),
        keras.ops.minimum(x, np.array([0.0, 0.5, 1.0])),
        keras.ops.clip(x, -0.5, 0.5),
        keras.ops.relu(x),
        keras.ops.relu6(x),
        keras.ops.leaky_relu(x, 0.1),
        keras.ops.hard_sigmoid(x),
        keras.ops.hard_silu(x),
        keras.ops.sigmoid(x),
        keras.ops.softmax(x, axis=1),
    ]


@ENDINGS
@pytest.mark.parametrize("number", range(22))
def test_functions_in_the_place_of_layers(tmp_path: Path, ending: str, number: int) -> None:
    first = keras.Input((3,))
    made = functions(layers.Dense(3)(first), layers.Dense(3)(first))
    assert len(made) == 22
    check(keras.Model(first, made[number]), tmp_path / f"m.{ending}")


@ENDINGS
def test_shared_layers_and_models_in_models(tmp_path: Path, ending: str) -> None:
    def inner() -> Any:
        return keras.Sequential([keras.Input((6,)), layers.Dense(6, name="d"), layers.ReLU()])

    def lazy() -> Any:
        return keras.Sequential([layers.Dense(6, name="d"), layers.BatchNormalization()])

    source = keras.Input((6,))
    hidden = layers.Add()([layers.Dense(6, name="d")(source), source])
    deeper = [inner(), lazy()] if ending == "keras" else []
    functional = keras.Model(source, keras.Sequential([*deeper, layers.ReLU()])(hidden))
    shared, once, twice = layers.Dense(6, name="shared"), inner(), lazy()

    x = first = keras.Input((6,))
    x = once(x)
    y = shared(x)
    x = functional(y, training=False)
    x = shared(layers.Subtract()([functional(x), y]))
    x = layers.Concatenate()([once(x), twice(x), functional(x), twice(y)])
    graph = check(keras.Model(first, x), tmp_path / f"m.{ending}")
    copies = [n for n in graph.nodes if isinstance(n, Dense) and n.name.startswith("shared")]
    assert len(copies) == 2


def test_what_an_h5_file_leaves_unclear(tmp_path: Path) -> None:
    """Models two deep may have layers of one name there, which nothing tells apart."""
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="d")])
    outer = keras.Sequential([keras.Input((6,)), inner, layers.Dense(6, name="d")])
    model = keras.Sequential([keras.Input((6,)), outer])
    check(model, tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    with pytest.raises(ModelError, match="'d' .*several layers of this name; give"):
        read_keras(tmp_path / "m.h5")


@ENDINGS
def test_a_model_ends_in_a_model(tmp_path: Path, ending: str) -> None:
    head = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(3, "softmax")])
    source = keras.Input((5,))
    body = keras.Model(source, layers.Dense(4, "relu")(source))
    graph = check(keras.Sequential([keras.Input((5,)), body, head]), tmp_path / f"m.{ending}")
    assert isinstance(graph.nodes[-1], Final)
    graph = check(keras.Model(source, head(body(source))), tmp_path / f"m.{ending}")
    assert isinstance(graph.nodes[-1], Final)


def test_activations_that_are_layers(tmp_path: Path) -> None:
    for activation in (layers.LeakyReLU(0.1), layers.ReLU(1.0), layers.Softmax()):
        check(
            keras.Sequential([keras.Input((3,)), layers.Dense(4, activation)]), tmp_path / "m.keras"
        )


def test_augmentation_does_nothing(tmp_path: Path) -> None:
    augmenting = [
        layers.RandomFlip(),
        layers.RandomRotation(0.2),
        layers.RandomTranslation(0.2, 0.2),
        layers.RandomZoom(0.2),
        layers.RandomContrast(0.2),
        layers.RandomBrightness(0.2),
    ]
    model = keras.Sequential([keras.Input((5, 4, 3)), *augmenting, layers.Conv2D(2, 3)])
    assert len(check(model, tmp_path / "m.keras").nodes) == 2


def test_several_inputs_or_outputs(tmp_path: Path) -> None:
    one, two = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    total = layers.Add(name="total")([one, two])
    for path in (tmp_path / "m.keras", tmp_path / "m.h5"):
        keras.Model([one, two], total).save(path)
        with pytest.raises(ModelError, match="2 inputs .'left', 'right'.; exactly one"):
            read_keras(path)
        hidden = layers.Dense(2, name="hidden")(one)
        keras.Model(one, {"a": hidden, "b": layers.Dense(2, name="end")(hidden)}).save(path)
        with pytest.raises(ModelError, match="2 outputs .'hidden', 'end'.; exactly one"):
            read_keras(path)


def test_what_has_no_exact_form(tmp_path: Path) -> None:
    for layer, match in (
        (layers.LayerNormalization(name="norm"), r"'norm' \(LayerNormalization\).*statistic"),
        (layers.Dense(3, "gelu", name="d"), r"'d' \(Dense\): the activation 'gelu' .*hard_swish"),
        (layers.Activation("tanh", name="t"), "'t' .*'tanh' is not supported"),
        (layers.ELU(name="e"), r"'e' \(ELU\): .*no exact form on shares; train with ReLU"),
        (layers.UnitNormalization(), "statistic of every input"),
    ):
        keras.Sequential([keras.Input((3,)), layer]).save(tmp_path / "m.keras")
        with pytest.raises(ModelError, match=match):
            read_keras(tmp_path / "m.keras")


def test_code_is_refused(tmp_path: Path) -> None:
    first = keras.Input((3,))
    made = layers.Lambda(lambda x: x + 1, name="code", output_shape=(3,))(first)
    for path in (tmp_path / "m.keras", tmp_path / "m.h5"):
        keras.Model(first, made).save(path)
        with pytest.raises(ModelError, match=r"'code' \(Lambda\).*code, which is never run"):
            read_keras(path)


@ENDINGS
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(tmp_path: Path, name: str, ending: str) -> None:
    check(NETWORKS[name](), tmp_path / f"m.{ending}")


@pytest.mark.slow
@ENDINGS
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ResNet50", 32),
        ("MobileNetV2", 32),
        ("MobileNetV3Small", 32),
        ("VGG16", 32),
        ("DenseNet121", 32),
        ("InceptionV3", 75),
    ],
)
def test_architectures(tmp_path: Path, name: str, size: int, ending: str) -> None:
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size, size, 3), classes=10)
    check(model, tmp_path / f"m.{ending}")

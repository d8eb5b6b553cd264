"""What is refused in a well-formed file, and in what words."""

from __future__ import annotations

import re
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest

from libmpc.errors import ModelError
from libmpc.graph.keras import read_keras
from tests.graph.keras_files import Config, conv, dense, layer, sequential, write_h5


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
        (layer("UpSampling2D", "u", size=1 << 28), r"'u' \(UpSampling2D\): .*more than"),
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
        (conv(kernel_size=[7, 7]), r"'conv' \(Conv2D\): .*larger than the image"),
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

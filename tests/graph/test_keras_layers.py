"""Every layer, in random configurations, against Keras itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from libmpc.graph.keras.layers import LAYERS
from tests.graph.real_keras import check, keras, layers

# Of Keras' own code, for this version of numpy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")

Draw = st.DrawFn
Made = tuple[Any, tuple[int, ...]]
MAKERS: dict[str, Callable[[Draw], Made]] = {}
ACTIVATIONS = (None, "linear", "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_silu")
NAMES = (*ACTIVATIONS[1:], "hard_tanh", "soft_shrink", "softmax", "log_softmax", "sigmoid")


def maker(*kinds: str) -> Callable[[Callable[[Draw, str], Made]], None]:
    def register(make: Callable[[Draw, str], Made]) -> None:
        for kind in kinds:
            MAKERS[kind] = lambda draw, kind=kind: make(draw, kind)  # type: ignore[misc]

    return register


def numbers(draw: Draw, rank: int, least: int, most: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(least, most)) for _ in range(rank))


def image(draw: Draw, rank: int, least: int = 3, most: int = 7) -> tuple[tuple[int, ...], str]:
    """A shape, and the data format that it is in."""
    sizes, channels = numbers(draw, rank, least, most), draw(st.integers(1, 4))
    if draw(st.integers(0, 3)):
        return (*sizes, channels), "channels_last"
    return (channels, *sizes), "channels_first"


def stepping(draw: Draw, rank: int, strides_key: str = "strides") -> dict[str, Any]:
    """Strides or a dilation; Keras allows no others."""
    stride = draw(st.integers(1, 3))
    if rank == 1 and draw(st.booleans()):
        return {"dilation_rate": stride}
    if draw(st.booleans()):
        return {"dilation_rate": numbers(draw, rank, 1, 2)}
    # Keras' own backends want one stride for depthwise convolutions.
    return {strides_key: stride}


def convolution(draw: Draw, kind: str) -> dict[str, Any]:
    rank = int(kind[kind.index("D") - 1] if kind[0] != "D" else kind[-2])
    return {
        "kernel_size": numbers(draw, rank, 1, 3),
        "padding": draw(st.sampled_from(("same", "valid"))),
        "use_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        **stepping(draw, rank),
    }


def rank_of(kind: str) -> int:
    return 1 if "1D" in kind else 2


@maker("Conv1D", "Conv2D")
def conv(draw: Draw, kind: str) -> Made:
    shape, data_format = image(draw, rank_of(kind), 7, 8)
    groups = draw(st.integers(1, 2))
    shape = tuple(
        d * groups if axis == (len(shape) - 1 if data_format == "channels_last" else 0) else d
        for axis, d in enumerate(shape)
    )
    values = convolution(draw, kind)
    if rank_of(kind) == 1 and data_format == "channels_last" and draw(st.booleans()):
        values["padding"] = "causal"
    filters = groups * draw(st.integers(1, 3))
    layer = getattr(layers, kind)(filters, data_format=data_format, groups=groups, **values)
    return layer, shape


@maker("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(draw: Draw, kind: str) -> Made:
    shape, data_format = image(draw, rank_of(kind), 7, 8)
    multiplier = draw(st.integers(1, 3))
    values = convolution(draw, kind)
    layer = getattr(layers, kind)(depth_multiplier=multiplier, data_format=data_format, **values)
    return layer, shape


@maker("SeparableConv1D", "SeparableConv2D")
def separable(draw: Draw, kind: str) -> Made:
    shape, data_format = image(draw, rank_of(kind), 7, 8)
    values = convolution(draw, kind) | {"depth_multiplier": draw(st.integers(1, 2))}
    filters = draw(st.integers(1, 3))
    return getattr(layers, kind)(filters, data_format=data_format, **values), shape


@maker("Conv1DTranspose", "Conv2DTranspose")
def transposed(draw: Draw, kind: str) -> Made:
    shape, data_format = image(draw, rank_of(kind), 1, 4)
    values = convolution(draw, kind)
    stride = values.get("strides", 1)
    if stride > 1 and draw(st.booleans()):
        values["output_padding"] = draw(st.integers(0, stride - 1))
    filters = draw(st.integers(1, 3))
    return getattr(layers, kind)(filters, data_format=data_format, **values), shape


@maker("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D")
def pooling(draw: Draw, kind: str) -> Made:
    rank = rank_of(kind)
    shape, data_format = image(draw, rank)
    strides = draw(st.sampled_from((None, 1, 2, 3)))
    if rank == 2 and draw(st.booleans()):
        strides = numbers(draw, 2, 1, 3)
    size = numbers(draw, rank, 1, 3)
    layer = getattr(layers, kind)(
        pool_size=size if rank == 2 else size[0],
        strides=strides,
        padding=draw(st.sampled_from(("same", "valid"))),
        data_format=data_format,
    )
    return layer, shape


@maker(
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"
)
def global_pooling(draw: Draw, kind: str) -> Made:
    shape, data_format = image(draw, rank_of(kind))
    return getattr(layers, kind)(data_format=data_format, keepdims=draw(st.booleans())), shape


@maker("Dense")
def dense(draw: Draw, kind: str) -> Made:
    shape = numbers(draw, draw(st.integers(1, 3)), 1, 5)
    activation = draw(st.sampled_from(ACTIVATIONS))
    return layers.Dense(
        draw(st.integers(1, 5)), use_bias=draw(st.booleans()), activation=activation
    ), shape


@maker("BatchNormalization")
def batch_normalization(draw: Draw, kind: str) -> Made:
    shape = numbers(draw, draw(st.integers(1, 3)), 1, 5)
    layer = layers.BatchNormalization(
        axis=draw(st.sampled_from((-1, *range(1, len(shape) + 1)))),
        epsilon=draw(st.sampled_from((1e-3, 1e-5, 0.5))),
        center=draw(st.booleans()),
        scale=draw(st.booleans()),
    )
    return layer, shape


@maker("Normalization")
def normalization(draw: Draw, kind: str) -> Made:
    shape = numbers(draw, draw(st.integers(1, 3)), 1, 5)
    every = range(1, len(shape) + 1)
    axis: Any = draw(st.sampled_from((-1, None, *every, tuple(every))))
    values: dict[str, Any] = {"axis": axis, "invert": draw(st.booleans())}
    if draw(st.booleans()):
        values |= {"mean": draw(st.sampled_from((0.5, 3))), "variance": 2.0}
        if axis == -1:
            values |= {"mean": [0.25 * i for i in range(shape[-1])], "variance": [2.0] * shape[-1]}
    return layers.Normalization(**values), shape


@maker("Rescaling")
def rescaling(draw: Draw, kind: str) -> Made:
    shape = numbers(draw, 3, 1, 4)
    factor: Any = draw(st.sampled_from((1 / 255, 2, [0.5] * shape[-1])))
    offset: Any = draw(st.sampled_from((-1, 0.0, [0.1 * i for i in range(shape[-1])])))
    return layers.Rescaling(factor, offset), shape


@maker("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D")
def edges(draw: Draw, kind: str) -> Made:
    rank = rank_of(kind)
    shape, data_format = image(draw, rank, 5)
    one = draw(st.integers(0, 2))
    several: Any = tuple(numbers(draw, 2, 0, 2) for _ in range(rank))
    amount = draw(st.sampled_from((one, several if rank == 2 else several[0])))
    if kind == "Cropping1D":
        shape, values = (*shape[1:], 3)[:2], {}
        shape = (max(5, shape[0]), shape[1])
    else:
        values = {"data_format": data_format}
    return getattr(layers, kind)(amount, **values), shape


@maker("UpSampling1D", "UpSampling2D")
def up_sampling(draw: Draw, kind: str) -> Made:
    rank = rank_of(kind)
    shape, data_format = image(draw, rank, 1)
    if rank == 1:
        return layers.UpSampling1D(draw(st.integers(1, 3))), shape
    return layers.UpSampling2D(numbers(draw, 2, 1, 3), data_format=data_format), shape


@maker("Flatten")
def flatten(draw: Draw, kind: str) -> Made:
    shape = numbers(draw, draw(st.integers(1, 4)), 1, 4)
    data_format = draw(st.sampled_from(("channels_last", "channels_first")))
    return layers.Flatten(data_format=data_format), shape


@maker("Reshape")
def reshape(draw: Draw, kind: str) -> Made:
    shape = draw(st.permutations((2, 3, 4)))
    target = draw(st.sampled_from(((24,), (4, 6), (2, 2, 6), (-1,), (3, -1), (1, -1, 2))))
    return layers.Reshape(target), tuple(shape)


@maker("Permute")
def permute(draw: Draw, kind: str) -> Made:
    rank = draw(st.integers(1, 4))
    order = tuple(draw(st.permutations(range(1, rank + 1))))
    return layers.Permute(order), numbers(draw, rank, 1, 4)


@maker("RepeatVector")
def repeat(draw: Draw, kind: str) -> Made:
    return layers.RepeatVector(draw(st.integers(1, 4))), numbers(draw, 1, 1, 5)


@maker("ReLU")
def relu(draw: Draw, kind: str) -> Made:
    layer = layers.ReLU(
        max_value=draw(st.sampled_from((None, 6, 1.5))),
        negative_slope=draw(st.sampled_from((0.0, 0.25))),
        threshold=draw(st.sampled_from((0.0, 0.5))),
    )
    return layer, numbers(draw, 2, 1, 5)


@maker("LeakyReLU")
def leaky_relu(draw: Draw, kind: str) -> Made:
    return layers.LeakyReLU(draw(st.floats(0, 1))), numbers(draw, 2, 1, 5)


@maker("PReLU")
def prelu(draw: Draw, kind: str) -> Made:
    rank = draw(st.integers(1, 3))
    shared = draw(st.sets(st.integers(1, rank)))
    return layers.PReLU(shared_axes=sorted(shared) or None), numbers(draw, rank, 1, 5)


@maker("Softmax")
def softmax(draw: Draw, kind: str) -> Made:
    rank = draw(st.integers(1, 3))
    axis = draw(st.sampled_from((-1, *range(1, rank + 1))))
    return layers.Softmax(axis=axis), numbers(draw, rank, 2, 5)


@maker("Activation")
def activation(draw: Draw, kind: str) -> Made:
    return layers.Activation(draw(st.sampled_from(NAMES))), numbers(draw, 2, 2, 5)


@maker("Dropout", "GaussianDropout", "AlphaDropout", "GaussianNoise")
def noise(draw: Draw, kind: str) -> Made:
    return getattr(layers, kind)(draw(st.floats(0, 0.9))), numbers(draw, 2, 1, 4)


@maker("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def spatial_dropout(draw: Draw, kind: str) -> Made:
    return getattr(layers, kind)(0.5), numbers(draw, int(kind[-2]) + 1, 1, 3)


@maker("ActivityRegularization", "Identity")
def nothing(draw: Draw, kind: str) -> Made:
    return getattr(layers, kind)(), numbers(draw, 2, 1, 3)


def try_layer(kind: str, path: Path, data: st.DataObject) -> None:
    layer, shape = MAKERS[kind](data.draw)
    ending, seed = data.draw(st.sampled_from(("keras", "h5"))), data.draw(st.integers(0, 9))
    before = [keras.Input(shape)]
    if data.draw(st.booleans()):  # a layer before, so that not only inputs are read
        before.append(layers.Rescaling(0.75, 0.125))
    model = keras.Sequential([*before, layer])
    assume(all(model.output_shape[1:]))  # Keras has images without places, we have not
    check(model, path / f"m.{ending}", seed)


@pytest.mark.parametrize("kind", sorted(MAKERS))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_layer(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    try_layer(kind, tmp_path, data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(MAKERS))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_layer_thoroughly(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    try_layer(kind, tmp_path, data)


def test_every_layer_is_tried_here_or_among_the_merging_ones() -> None:
    merging = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"}
    missing = set(LAYERS) - set(MAKERS) - merging
    assert {kind for kind in missing if not kind.startswith("Random")} == set()

"""One reader per layer class: a layer's configuration and weights become one or two nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from libmpc.graph import nodes
from libmpc.graph.keras.settings import Settings, shown
from libmpc.graph.keras.weights import WeightStore
from libmpc.graph.nodes import Floats, Node, Shape

SUPPORTED = (
    "InputLayer, Conv2D, AveragePooling2D, Flatten, Dense, Dropout, ReLU, Activation (relu or "
    "linear; softmax at the end)"
)


def read_layer(layer: Settings, source: str, shape: Shape, store: WeightStore) -> list[Node]:
    """The nodes of one layer that reads ``source``, whose value has ``shape``.

    Raises:
        ModelError: the layer, or a setting of it, is not supported, or its weights do not fit.
    """
    reader = _READERS.get(layer.kind)
    if reader is None:
        raise layer.refuse(f"this kind of layer is not supported; supported are {SUPPORTED}")
    return reader(layer, source, shape, store)


def _conv2d(layer: Settings, source: str, shape: Shape, store: WeightStore) -> list[Node]:
    _require_image(layer, shape)
    layer.require("data_format", "channels_last", None)
    layer.require("groups", 1)
    kernel, strides = layer.pair("kernel_size"), layer.pair("strides", 1)
    dilation = layer.pair("dilation_rate", 1)
    filters = layer.integer("filters")
    padding = _padding(layer, shape, kernel, strides, dilation)
    after = _activation(layer, layer.name)
    weights, bias = _weights(layer, (*kernel, shape[2], filters), store)
    node = nodes.Conv2D(layer.name, (source,), weights, bias, strides, dilation, padding)
    return [node, *after]


def _dense(layer: Settings, source: str, shape: Shape, store: WeightStore) -> list[Node]:
    layer.require("quantization_config", None)
    after = _activation(layer, layer.name)
    weights, bias = _weights(layer, (shape[-1], layer.integer("units")), store)
    return [nodes.Dense(layer.name, (source,), weights, bias), *after]


def _average_pooling(layer: Settings, source: str, shape: Shape, _: WeightStore) -> list[Node]:
    _require_image(layer, shape)
    layer.require("data_format", "channels_last", None)
    pool = layer.pair("pool_size", 2)
    strides = pool if layer.values.get("strides") is None else layer.pair("strides")
    if any(_padding(layer, shape, pool, strides, (1, 1))):
        raise layer.refuse(
            "padding='same' that reaches over the image's edge is not supported yet; use "
            "padding='valid', or a pool size that divides the image"
        )
    return [nodes.AveragePooling2D(layer.name, (source,), pool, strides)]


def _activation_layer(layer: Settings, source: str, shape: Shape, _: WeightStore) -> list[Node]:
    return _activation(layer, source, layer.name)


def _relu(layer: Settings, source: str, shape: Shape, _: WeightStore) -> list[Node]:
    layer.require("max_value", None)
    layer.require("negative_slope", 0, None)
    layer.require("alpha", 0, None)
    layer.require("threshold", 0, None)
    return [nodes.Relu(layer.name, (source,))]


def _flatten(layer: Settings, source: str, shape: Shape, _: WeightStore) -> list[Node]:
    layer.require("data_format", "channels_last", None)
    return [nodes.Flatten(layer.name, (source,))]


def _dropout(layer: Settings, source: str, shape: Shape, _: WeightStore) -> list[Node]:
    return [nodes.Identity(layer.name, (source,))]


_READERS: dict[str, Callable[[Settings, str, Shape, WeightStore], list[Node]]] = {
    "Conv2D": _conv2d,
    "Dense": _dense,
    "AveragePooling2D": _average_pooling,
    "Activation": _activation_layer,
    "ReLU": _relu,
    "Flatten": _flatten,
    "Dropout": _dropout,
}


def _activation(layer: Settings, source: str, name: str | None = None) -> list[Node]:
    kind = layer.activation()
    if kind == "relu":
        return [nodes.Relu(name or f"{layer.name}:relu", (source,))]
    if kind == "softmax":
        return [nodes.Softmax(name or f"{layer.name}:softmax", (source,))]
    if kind == "linear":
        return [nodes.Identity(name, (source,))] if name else []
    raise layer.refuse(
        f"the activation {shown(kind)} is not supported; supported are relu, linear, and softmax "
        "as the last layer"
    )


def _weights(layer: Settings, shape: Shape, store: WeightStore) -> tuple[Floats, Floats]:
    shapes: dict[str, Shape] = {"kernel": shape}
    if layer.flag("use_bias", True):
        shapes["bias"] = (shape[-1],)
    found = store.read(layer, shapes)
    return found["kernel"], found.get("bias", np.zeros(shape[-1]))


def _padding(
    layer: Settings,
    shape: Shape,
    window: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Zeros at top, bottom, left, right. ``same`` pads so that ⌈size / stride⌉ windows fit, with
    the odd zero at the bottom and at the right."""
    layer.require("padding", "valid", "same")
    if layer.values.get("padding", "valid") == "valid":
        return (0, 0, 0, 0)
    needed = [
        max(0, (-(-size // stride) - 1) * stride + (extent - 1) * spread + 1 - size)
        for size, stride, extent, spread in zip(shape[:2], strides, window, dilation, strict=True)
    ]
    down, across = needed
    return (down // 2, down - down // 2, across // 2, across - across // 2)


def _require_image(layer: Settings, shape: Shape) -> None:
    if len(shape) != 3:
        raise layer.refuse(f"needs an image (height, width, channels), its input has {shape}")

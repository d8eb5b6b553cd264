"""Convolutions of sequences and images: ordinary, depthwise, separable and transposed."""

from __future__ import annotations

from functools import partial

import numpy as np

from libmpc.graph.keras.activations import activate
from libmpc.graph.keras.call import Call, Reader
from libmpc.graph.keras.images import from_image, padding, pair, to_image
from libmpc.graph.nodes import Floats, Padding, Pair, Shape


def _conv(rank: int, call: Call) -> str:
    image = to_image(call, rank)
    channels, groups = call.b.shapes[image][2], call.layer.integer("groups", 1)
    filters = call.layer.integer("filters")
    if channels % groups or filters % groups:
        raise call.refuse(
            f"groups={groups} does not divide its {channels} channels and {filters} filters"
        )
    strides, dilation, around = _geometry(call, rank, call.b.shapes[image])
    kernel, bias = _weights(call, rank, (channels // groups, filters), filters)
    made = call.b.conv(call.name, image, kernel, bias, strides, dilation, around, groups)
    return _end(call, made, rank)


def _depthwise(rank: int, call: Call) -> str:
    image = to_image(call, rank)
    channels, each = call.b.shapes[image][2], call.layer.integer("depth_multiplier", 1)
    strides, dilation, around = _geometry(call, rank, call.b.shapes[image])
    name = "kernel" if call.keras >= 3 else "depthwise_kernel"
    kernel, bias = _weights(call, rank, (channels, each), channels * each, name)
    kernel = kernel.reshape(*kernel.shape[:2], 1, channels * each)
    made = call.b.conv(call.name, image, kernel, bias, strides, dilation, around, channels)
    return _end(call, made, rank)


def _separable(rank: int, call: Call) -> str:
    image = to_image(call, rank)
    channels, each = call.b.shapes[image][2], call.layer.integer("depth_multiplier", 1)
    filters, size = call.layer.integer("filters"), _kernel_size(call, rank)
    strides, dilation, around = _geometry(call, rank, call.b.shapes[image])
    shapes: dict[str, Shape] = {
        "depthwise_kernel": (*size[2 - rank :], channels, each),
        "pointwise_kernel": (*(1,) * rank, channels * each, filters),
    }
    found = call.weights(shapes | _bias_shape(call, filters))
    depthwise = found["depthwise_kernel"].reshape(*size, 1, channels * each)
    pointwise = found["pointwise_kernel"].reshape(1, 1, channels * each, filters)
    made = call.b.conv(
        call.name, image, depthwise, None, strides, dilation, around, groups=channels
    )
    return _end(call, call.b.conv(call.name, made, pointwise, found.get("bias")), rank)


def _transposed(rank: int, call: Call) -> str:
    """The image with zeros between its places, convolved with the mirrored kernel.

    Like Keras, zeros go around it so that an output of the size that ``padding`` and
    ``output_padding`` ask for comes out.
    """
    call.layer.require("groups", 1)
    image = to_image(call, rank)
    channels, filters = call.b.shapes[image][2], call.layer.integer("filters")
    strides = pair(call, "strides", rank, 1)
    dilation = pair(call, "dilation_rate", rank, 1)
    if max(strides) > 1 and max(dilation) > 1:
        raise call.refuse("strides and dilation_rate cannot both be more than 1")
    size = _kernel_size(call, rank)
    (top, bottom), (left, right) = (
        _zeros_around(call, rank, axis, (size[axis] - 1) * dilation[axis] + 1, strides[axis])
        for axis in (0, 1)
    )
    kernel, bias = _weights(call, rank, (filters, channels), filters)
    mirrored = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    between = (strides[0] - 1, strides[1] - 1, 0)
    spread = call.b.pad(call.name, image, (0, 0, 0), (0, 0, 0), between)
    made = call.b.conv(
        call.name, spread, mirrored, bias, (1, 1), dilation, (top, bottom, left, right)
    )
    return _end(call, made, rank)


def _zeros_around(call: Call, rank: int, axis: int, extent: int, stride: int) -> Pair:
    """Before and after an image with zeros between, along one axis."""
    if axis < 2 - rank:
        return (0, 0)
    more = None
    if call.layer.values.get("output_padding") is not None:
        more = pair(call, "output_padding", rank, least=0)[axis]
    if call.layer.require("padding", "valid", "same") == "valid":
        after = max(stride - extent, 0) if more is None else more
        return (extent - 1, extent - 1 + after)
    total = stride + extent - 2 if more is None else extent + extent % 2 - 2 + more
    before = min(total - total // 2, extent - 1)
    return (before, total - before)


def _geometry(call: Call, rank: int, shape: Shape) -> tuple[Pair, Pair, Padding]:
    strides = pair(call, "strides", rank, 1)
    dilation = pair(call, "dilation_rate", rank, 1)
    return strides, dilation, padding(call, shape, _kernel_size(call, rank), strides, dilation)


def _kernel_size(call: Call, rank: int) -> Pair:
    return pair(call, "kernel_size", rank)


def _weights(
    call: Call, rank: int, channels: Pair, outputs: int, name: str = "kernel"
) -> tuple[Floats, Floats | None]:
    """The kernel, (height, width, *channels), and the bias, if there is one."""
    call.layer.require("quantization_config", None)
    size = _kernel_size(call, rank)
    shapes: dict[str, Shape] = {name: (*size[2 - rank :], *channels)}
    found = call.weights(shapes | _bias_shape(call, outputs))
    return found[name].reshape(*size, *channels), found.get("bias")


def _bias_shape(call: Call, outputs: int) -> dict[str, Shape]:
    return {"bias": (outputs,)} if call.layer.flag("use_bias", True) else {}


def _end(call: Call, image: str, rank: int) -> str:
    return activate(call, from_image(call, image, rank), call.layer.values.get("activation"))


_KINDS = {
    "Conv{}D": _conv,
    "DepthwiseConv{}D": _depthwise,
    "SeparableConv{}D": _separable,
    "Conv{}DTranspose": _transposed,
}
READERS: dict[str, Reader] = {
    kind.format(rank): partial(reader, rank) for kind, reader in _KINDS.items() for rank in (1, 2)
}

"""Convolutions, forward and transposed, over one to three axes."""

from __future__ import annotations

import math

import numpy as np

from libmpc.graph.nodes import Floats, Pair, Shape
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.operators.windows import (
    MAX_PAD,
    MODES,
    back,
    flat,
    image,
    sliding,
    widened,
)
from libmpc.graph.onnx.values import Secret, Value

_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def _weights(layer: Layer, value: Value | None, rank: int) -> Floats:
    weights = layer.floats(value, "the weights")
    if weights.ndim != rank + 2 or not weights.size:
        raise layer.refuse(f"weights of shape {weights.shape} do not fit an image of {rank} axes")
    listed = layer.op.integers("kernel_shape")
    if listed is not None and listed != weights.shape[2:]:
        raise layer.refuse(f"kernel_shape={listed[:4]} differs from the weights' {weights.shape}")
    return weights if rank > 1 else weights[:, :, np.newaxis]


def _bias(layer: Layer, value: Value | None, filters: int) -> Floats:
    bias = np.zeros(filters) if value is None else layer.floats(value, "the bias")
    if bias.shape != (filters,):
        raise layer.refuse(f"a bias of shape {bias.shape} does not fit {filters} filters")
    return bias


def _convolve(
    layer: Layer,
    x: Secret,
    kernel: Floats,
    bias: Floats,
    strides: Shape,
    dilation: Shape,
    padding: tuple[Pair, ...],
    groups: int,
) -> Secret:
    """``kernel`` (sizes ..., channels / groups, filters) over (batch, sizes ..., channels).

    In three axes the kernel's depth becomes channels: as many slices of the image as it is deep.
    """
    if len(strides) == 3:
        (before, after), *padding_ = padding
        x = _stacked(layer, x, kernel.shape[0], (before, after), (strides[0], dilation[0]), groups)
        kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
        strides, dilation, padding = strides[1:], dilation[1:], tuple(padding_)
    down, across = strides
    name = layer.b.conv(
        layer.op.name,
        x.name,
        kernel,
        bias,
        (down, across),
        (dilation[0], dilation[1]),
        flat(padding),
        groups,
    )
    return layer.made(name, x)


def _stacked(
    layer: Layer, x: Secret, depth: int, pads: Pair, step: tuple[int, int], groups: int
) -> Secret:
    """For every place of the kernel along the depth its slices of the image, as channels."""
    (stride, dilation), side = step, (0,) * (len(x.shape) - 2)
    name = layer.b.pad(layer.op.name, x.name, (0, pads[0], *side), (0, pads[1], *side))
    x = layer.made(name, x)
    places = (x.shape[1] - (depth - 1) * dilation - 1) // stride + 1
    if places < 1:
        raise layer.refuse(f"the kernel is deeper than the image, {x.shape[1]}")
    parts = [layer.cut(x, 1, place * dilation, places, stride) for place in range(depth)]
    joined = layer.concat(parts, 4)
    if groups == 1:
        return joined
    n, _, height, width, channels = x.shape
    apart = layer.reshape(joined, (n, places, height * width, depth, groups, channels // groups))
    turned = layer.transpose(apart, (0, 1, 2, 4, 3, 5))
    return layer.reshape(turned, (n, places, height, width, depth * channels))


def _conv(layer: Layer, inputs: Inputs) -> list[Value]:
    x, sizes = image(layer, layer.real(at(inputs, 0)))
    weights = _weights(layer, at(inputs, 1), len(sizes))
    filters, groups = weights.shape[0], layer.op.integer("group", 1)
    if groups < 1 or filters % groups or x.shape[-1] != weights.shape[1] * groups:
        raise layer.refuse(
            f"{x.shape[-1]} channels in {groups} groups do not fit weights {weights.shape}"
        )
    bias = _bias(layer, at(inputs, 2), filters)
    w = sliding(layer, sizes, weights.shape[-len(sizes) :])
    kernel = weights.transpose(*range(2, weights.ndim), 1, 0)
    made = _convolve(layer, x, kernel, bias, w.strides, w.dilation, w.padding, groups)
    return [back(layer, made, len(sizes))]


def _conv_transpose(layer: Layer, inputs: Inputs) -> list[Value]:
    """Zeros between the pixels, then a convolution with the kernel turned round."""
    x, sizes = image(layer, layer.real(at(inputs, 0)))
    rank, groups = len(sizes), layer.op.integer("group", 1)
    weights = _weights(layer, at(inputs, 1), rank)
    channels, parts = weights.shape[:2]
    if groups < 1 or channels % groups or x.shape[-1] != channels:
        raise layer.refuse(
            f"{x.shape[-1]} channels in {groups} groups do not fit weights {weights.shape}"
        )
    bias = _bias(layer, at(inputs, 2), parts * groups)
    strides = layer.op.integers("strides") or (1,) * rank
    dilation = layer.op.integers("dilations") or (1,) * rank
    sides = _sides(layer, sizes, weights.shape[-rank:], strides, dilation)
    before, after = zip(*([(0, 0), *sides] if rank == 1 else sides), strict=True)
    name = layer.b.pad(
        layer.op.name,
        x.name,
        (0, *(max(side, 0) for side in before), 0),
        (0, *(max(side, 0) for side in after), 0),
        (0, *(stride - 1 for stride in widened(strides)), 0),
    )
    wide = layer.made(name, x)
    for axis, (first, last) in enumerate(zip(before, after, strict=True), 1):
        rest = wide.shape[axis] - max(-first, 0) - max(-last, 0)
        if rest < 1:
            raise layer.refuse("its pads leave nothing of the result")
        wide = layer.cut(wide, axis, max(-first, 0), rest)
    kernel = _turned(weights, groups)
    ones = (1,) * len(before)
    none = ((0, 0),) * len(before)
    made = _convolve(layer, wide, kernel, bias, ones, widened(dilation), none, groups)
    return [back(layer, made, rank)]


def _turned(weights: Floats, groups: int) -> Floats:
    """(channels, filters / groups, sizes ...) as (sizes ..., channels / groups, filters)."""
    channels, parts, *sizes = weights.shape
    reverse = np.flip(weights, tuple(range(2, weights.ndim)))
    split = reverse.reshape(groups, channels // groups, parts, *sizes)
    ordered = split.transpose(*range(3, split.ndim), 1, 0, 2)
    return ordered.reshape(*sizes, channels // groups, groups * parts)


def _sides(
    layer: Layer, sizes: Shape, kernel: Shape, strides: Shape, dilation: Shape
) -> list[Pair]:
    """Zeros before and after along every axis; a negative number cuts that much off."""
    op, rank = layer.op, len(sizes)
    pads = op.integers("pads") or (0,) * (2 * rank)
    extra = op.integers("output_padding") or (0,) * rank
    wanted = op.integers("output_shape")
    mode = op.text("auto_pad", "NOTSET")
    if mode not in MODES:
        raise layer.refuse(f"auto_pad={mode!a} is not supported")
    lengths = {len(strides), len(dilation), len(extra), len(wanted or kernel)}
    if lengths != {rank} or len(pads) != 2 * rank:
        raise layer.refuse(f"its attributes do not fit {rank} axes")
    if min(*strides, *dilation) < 1 or min(*pads, *extra) < 0 or max(*pads, *extra) > MAX_PAD:
        raise layer.refuse("strides and dilations must be positive, and no pad negative")
    if math.prod(strides) * math.prod(sizes) > 1 << 28:
        raise layer.refuse(f"the strides {strides} make too large an image")
    sides = []
    for axis, size in enumerate(sizes):
        span = (kernel[axis] - 1) * dilation[axis]
        before, after = (0, 0) if mode == "VALID" else (pads[axis], pads[axis + rank])
        target = None if wanted is None else wanted[axis]
        if target is None and mode.startswith("SAME"):
            target = size * strides[axis]
        if target is not None:
            total = (size - 1) * strides[axis] + extra[axis] + span + 1 - target
            if target < 1 or abs(total) > MAX_PAD:
                raise layer.refuse(f"the output size {target} makes no sense")
            total = max(total, 0) if wanted is None else total
            less, more = total // 2, total - total // 2
            before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
        sides.append((span - before, span - after + extra[axis]))
    return sides


READERS = {
    "Conv": Reader(_conv, _WINDOW, constants=(1, 2)),
    "ConvTranspose": Reader(
        _conv_transpose, (*_WINDOW, "output_padding", "output_shape"), constants=(1, 2)
    ),
}

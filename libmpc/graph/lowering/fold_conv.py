"""What follows a convolution, folded into it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.folded import Fold, fold_of
from libmpc.graph.lowering.kernels import as_matrix, seen, shifts, spread, times, ungrouped
from libmpc.graph.lowering.maps import ConvMap, DenseMap
from libmpc.graph.lowering.unpool import fewest_inputs
from libmpc.graph.nodes import Conv, Dense, Floats, Pair, Scale, Shape, SumPool
from libmpc.graph.plan import Window


def then_scale(first: ConvMap, node: Scale, shape: Shape) -> Fold | None:
    """Factors that are the same for all pixels: every filter times its factor."""
    whole = first.after if first.images == 1 else (first.images, *first.after)
    factor = Constant.of(node.factor, shape).on(whole).along_last()
    if factor is None:
        return None
    names = (*first.names, node.name)

    def build() -> ConvMap:
        return dataclasses.replace(first, names=names, kernel=first.kernel * factor)

    return Fold(first.cost, build)


def then_pool(first: ConvMap, node: SumPool) -> Fold | None:
    """Sum first.

    The image that the convolution reads is replaced by its sums over windows of the pooling's
    size, with stride 1, with the convolution's strides times the pooling's dilation as dilation,
    and with the convolution's padding, so that zeros are summed as well. The kernel and its
    dilation stay; there is no padding any more; the strides multiply. A window of 1x1 only
    multiplies the strides. (One kernel for both would never need fewer multiplications.)
    """
    if any(node.padding):
        return None
    names = (*first.names, node.name)
    strides = times(first.strides, node.strides)
    if node.kernel == (1, 1):
        pooled = dataclasses.replace(first, names=names, strides=strides)
        return Fold(pooled.cost, lambda: pooled)
    height, width, channels = first.image
    window = Window(
        height=height,
        width=width,
        channels=channels,
        kernel=node.kernel,
        dilation=times(first.strides, node.dilation),
        padding=first.padding,
    )
    pooled = dataclasses.replace(
        first,
        names=names,
        image=(*window.output_size, channels),
        strides=strides,
        padding=(0, 0, 0, 0),
        sums=(*first.sums, (node.name, window)),
    )
    return Fold(pooled.cost, lambda: pooled)


def then_conv(first: ConvMap, node: Conv) -> Fold | None:
    """For each place of the second kernel in row-major order, then each channel between them in
    order, the first kernel, with its dilation written out as zeros, and shifted by that place
    times its strides times the second's dilation, times the second's row is added. The strides
    multiply. Where both have the same number of groups, each group is folded alone; otherwise
    groups are written out as zeros.

    The second one has no padding, or the first one is 1x1 without padding: then its zeros are
    zeros of the image.
    """
    padding = first.padding
    pointwise = first.kernel.shape[:2] == (1, 1) and not any(first.padding)
    if any(node.padding):
        if not pointwise:
            return None
        padding = _outer_padding(first, node)
    steps = times(first.strides, node.dilation)
    window = (node.kernel.shape[0], node.kernel.shape[1])
    groups = first.groups if first.groups == node.groups else 1
    channels, filters = first.image[2] // groups, node.kernel.shape[3]
    height, width = (
        (k - 1) * d + 1 + (w - 1) * s
        for k, d, w, s in zip(first.kernel.shape, first.dilation, window, steps, strict=False)
    )
    names = (*first.names, node.name)
    weights = height * width * channels * filters
    places = math.prod(node.output_shape(first.after)[:2]) * first.images
    between = first.kernel.shape[3] // groups
    room = max(height * width * channels * between * groups, math.prod(window) * between * filters)

    def build() -> ConvMap:
        parts = [(first.kernel, node.kernel)]
        if groups > 1:
            both = (np.split(kernel, groups, axis=3) for kernel in (first.kernel, node.kernel))
            parts = list(zip(*both, strict=True))
        elif first.groups > 1 or node.groups > 1:
            kernel = ungrouped(node.kernel, node.groups)
            parts = [(ungrouped(first.kernel, first.groups), kernel)]
        merged = [_merged(spread(a, first.dilation), b, steps, window) for a, b in parts]
        return dataclasses.replace(
            first,
            names=names,
            kernel=np.concatenate(merged, axis=3),
            dilation=(1, 1),
            strides=times(first.strides, node.strides),
            padding=padding,
            groups=groups,
        )

    return fold_of(weights, places * weights, build, room=room)


def then_dense(first: ConvMap, node: Dense) -> Fold | None:
    """A matrix on all pixels: for each place of the kernel in row-major order, then each channel
    between, products are added to the matrix at the pixels that this place reads.
    """
    outputs = node.weights.shape[1]
    weights = math.prod(first.image) * outputs
    names = (*first.names, node.name)

    def build() -> DenseMap:
        height, width, channels = first.image
        rows, columns, filters = first.after
        kernel = ungrouped(first.kernel, first.groups)
        top, bottom, left, right = first.padding
        padded = np.zeros((height + top + bottom, width + left + right, channels, outputs))
        after = node.weights.reshape(rows, columns, filters, outputs)
        for place in np.ndindex(*kernel.shape[:2]):
            view = seen(padded, place, first.strides, first.dilation, (rows, columns))
            for channel in range(filters):
                view += kernel[place][:, channel, None] * after[:, :, channel, None, :]
        inside = padded[top : top + height, left : left + width].reshape(-1, outputs)
        return fewest_inputs(DenseMap(names, 1, inside, first.sums))

    return fold_of(weights, weights, build)


def to_matrix(first: ConvMap) -> Fold | None:
    """The convolution of one image as one matrix."""
    if first.images > 1:
        return None
    weights = math.prod(first.image) * math.prod(first.after)

    def build() -> DenseMap:
        return fewest_inputs(DenseMap(first.names, 1, as_matrix(first), first.sums))

    return fold_of(weights, weights, build)


def _merged(kernel: Floats, second: Floats, steps: Pair, window: Pair) -> Floats:
    height = kernel.shape[0] + (window[0] - 1) * steps[0]
    width = kernel.shape[1] + (window[1] - 1) * steps[1]
    merged = np.zeros((height, width, kernel.shape[2], second.shape[3]))
    for view, place in shifts(merged, kernel, steps, window):
        for channel, row in enumerate(second[place]):
            view += kernel[..., channel, None] * row
    return merged


def _outer_padding(first: ConvMap, node: Conv) -> tuple[int, int, int, int]:
    """Padding of the image that a 1x1 convolution takes to the padding of its result."""
    sides: list[int] = []
    for axis in (0, 1):
        stride, size, made = first.strides[axis], first.image[axis], first.after[axis]
        before, behind = node.padding[2 * axis : 2 * axis + 2]
        last = (made - 1 + behind) * stride
        sides += [before * stride, max(0, last - (size - 1))]
    top, bottom, left, right = sides
    return top, bottom, left, right

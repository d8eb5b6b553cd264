"""What follows a matrix, folded into it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.folded import Fold, fold_of
from libmpc.graph.lowering.kernels import seen
from libmpc.graph.lowering.maps import DenseMap
from libmpc.graph.nodes import Conv, Dense, Floats, Scale, Shape, SumPool


def then_scale(first: DenseMap, node: Scale, shape: Shape) -> Fold | None:
    """Factors that are the same for all rows: every column times its factor."""
    whole = (first.rows, first.weights.shape[1])
    factor = Constant.of(node.factor, shape).on(whole).along_last()
    if factor is None:
        return None
    names = (*first.names, node.name)

    def build() -> DenseMap:
        return dataclasses.replace(first, names=names, weights=first.weights * factor)

    return Fold(first.cost, build)


def then_dense(first: DenseMap, node: Dense) -> Fold | None:
    """Products are added in the order of the values between the two matrices."""
    names = (*first.names, node.name)
    inputs, outputs = first.weights.shape[0], node.weights.shape[1]

    def build() -> DenseMap:
        weights = np.zeros((inputs, outputs))
        for index, row in enumerate(node.weights):
            weights += first.weights[:, index, None] * row
        return dataclasses.replace(first, names=names, weights=weights)

    return fold_of(inputs * outputs, first.rows * inputs * outputs, build)


def then_window(first: DenseMap, node: Conv | SumPool, shape: Shape) -> Fold | None:
    """A convolution or pooling of each row of the matrix, which is an image: places of the kernel
    or window in row-major order, then channels.
    """
    if len(shape) != 3:
        return None
    after = node.output_shape(shape)
    inputs = len(first.weights)
    names = (*first.names, node.name)

    def build() -> DenseMap:
        top, bottom, left, right = node.padding
        images = first.weights.reshape(-1, *shape).transpose(1, 2, 3, 0)
        images = np.pad(images, ((top, bottom), (left, right), (0, 0), (0, 0)))
        window = node.kernel.shape[:2] if isinstance(node, Conv) else node.kernel
        made = np.zeros((*after, inputs))
        for place in np.ndindex(*window):
            view = seen(images, place, node.strides, node.dilation, after[:2])
            if isinstance(node, SumPool):
                made += view
            else:
                _add_channels(made, view, node, place)
        weights = made.reshape(-1, inputs).T
        return dataclasses.replace(first, names=names, weights=np.ascontiguousarray(weights))

    weights = inputs * math.prod(after)
    return fold_of(weights, weights, build)


def _add_channels(made: Floats, view: Floats, node: Conv, place: tuple[int, ...]) -> None:
    """One place of the kernel; pixels and channels of ``view`` come first, images last."""
    _, _, channels, filters = node.kernel.shape
    parts = view.reshape(*view.shape[:2], node.groups, channels, -1)
    for channel, row in enumerate(node.kernel[place]):
        each = np.repeat(parts[:, :, :, channel], filters // node.groups, axis=2)
        made += each * row[:, None]


def one_row(first: DenseMap) -> Fold | None:
    """All rows as one, with a copy of the matrix for each."""
    rows, (inputs, outputs) = first.rows, first.weights.shape
    if rows == 1:
        return Fold(first.cost, lambda: first)
    weights = rows * rows * inputs * outputs

    def build() -> DenseMap:
        full = np.zeros((rows, inputs, rows, outputs))
        full[np.arange(rows), :, np.arange(rows)] = first.weights
        return dataclasses.replace(
            first, rows=1, weights=full.reshape(rows * inputs, rows * outputs)
        )

    return fold_of(weights, weights, build)
